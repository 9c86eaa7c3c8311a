import { measure } from "./measure.js";

const wasm = await fetch(new URL("./wasm/opp2p_web_bg.wasm", import.meta.url));
self.postMessage(await measure(await wasm.arrayBuffer()));
