// A crash of the node on the page's own thread, with a made-up module in place of WebAssembly: `node
// --test web/e2e/page/crash.test.mjs`.

import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";

/** The module: a node never answers `stop` once it has crashed, as panics end all its tasks. */
const MODULE = `
  export const made = [];
  let tell, crashed = false;
  export default async () => ({ memory: { buffer: new ArrayBuffer(8) } });
  export const onCrash = (listener) => (tell = listener);
  export const crash = () => {
    crashed = true;
    tell(JSON.stringify({ kind: "crashed", detail: "panicked at made.rs" }));
  };
  const used = () => { if (crashed) throw new Error("the dead module is used"); };
  export const newIdentity = () => (used(), new Uint8Array());
  export const inspectMessage = () => (used(), '{"verdict":"reject"}');
  export class Node {
    constructor() {
      used();
      made.push(this);
      this.about = JSON.stringify({ peerId: "p", network: { name: "n", chainId: 1, blockTime: 2, signer: null } });
    }
    networkChanged() { used(); }
    signerRead() { used(); }
    stop() {
      used();
      return this.mute ? new Promise(() => {}) : Promise.resolve();
    }
  }
`;
const HOOKS = `
  export async function resolve(specifier, context, next) {
    const is = specifier.endsWith("/wasm/opp2p_web.js") || specifier.endsWith("/wasm/opp2p_web_evm.js");
    return is ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(MODULE)}`)}, shortCircuit: true, format: "module" } : next(specifier, context);
  }
`;
register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
const { observe, inspect } = await import("../../js/index.js");
const module = await import("../../js/wasm/opp2p_web.js");

// Node.js 20 has none, and this module dials nothing.
globalThis.WebSocket ??= class {};
/** The shortest module. */
const wasm = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const OPTIONS = { network: "base", peers: "/ip4/127.0.0.1/tcp/9/ws/p2p/x", worker: false, wasm };
/** For what must settle: an abort, if it never does. */
const settles = (promise, what) => {
  const late = new Promise((_, reject) => setTimeout(reject, 20_000, new Error(`${what} never settles`)).unref());
  // Keeps the process alive until either happens.
  const awake = setInterval(() => {}, 1000);
  return Promise.race([promise, late]).finally(() => clearInterval(awake));
};

test("a stop ends though the node never answers it", async () => {
  const observer = await observe(OPTIONS);
  module.made.at(-1).mute = true;
  await settles(observer.stop(), "stop()");
});

test("a stopped node is left alone", async () => {
  const observer = await observe(OPTIONS);
  const node = module.made.at(-1);
  await settles(observer.stop(), "stop()");
  node.stop = () => assert.fail("it is stopped twice");
  await settles(observer.stop(), "a second stop()");
});

test("after a crash, stop() settles and the dead module is not used again", async () => {
  const errors = [];
  const observers = [await observe(OPTIONS), await observe(OPTIONS)];
  const stopping = await observe(OPTIONS);
  module.made.at(-1).mute = true;
  for (const observer of observers) observer.on("error", (error) => errors.push(error));
  // Reports arrive from the next task on.
  await new Promise((resolve) => setTimeout(resolve));
  const stopped = stopping.stop();
  module.crash();
  await settles(stopped, "a stop() that was under way");
  for (const observer of observers) {
    await settles(observer.stop(), "stop()");
    assert.ok(observer.stopped);
    const { done } = await observer.blocks[Symbol.asyncIterator]().next();
    assert.ok(done);
  }
  assert.deepEqual(errors.map(({ code }) => code), ["crashed", "crashed"]);
  const made = module.made.length;
  for (const again of [() => observe(OPTIONS), () => inspect("base", 4, new Uint8Array(9), Date.now())]) {
    const error = await again().then(() => assert.fail("it goes on"), (error) => error);
    assert.deepEqual([error.name, error.code], ["ObserverError", "crashed"], error.message);
    assert.match(error.message, /made\.rs.*reload the page/);
  }
  assert.equal(module.made.length, made);
});
