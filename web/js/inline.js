// The package for bundlers that copy no files: as static.js, and the module is in a script too.

import packed from "./embedded.js";
import * as engine from "./engine.js";
import { ObserverError } from "./errors.js";
import { inspecting, observing } from "./start.js";

export { ObserverError } from "./errors.js";
export { Observer } from "./observer.js";

/** Unpacks the module: base64 of gzip. */
async function wasm() {
  if (typeof DecompressionStream !== "function") {
    throw new ObserverError(
      "environment",
      "there is no DecompressionStream here: import from `opp2p/static`, or give the option `wasm`",
    );
  }
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  return new Response(
    new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")),
  ).arrayBuffer();
}

const load = async () => engine;

export const observe = /* @__PURE__ */ observing(load, { isHere: true, wasm });
export const inspect = /* @__PURE__ */ inspecting(load, { wasm });
