// The package's interface, with the node in a worker where there are workers. index.d.ts has its
// documentation.

import { ObserverError, words } from "./errors.js";
import { inspecting, observing } from "./start.js";

export { ObserverError } from "./errors.js";
export { Observer } from "./observer.js";

/** Loads the engine only where the node runs on this thread. */
async function load() {
  try {
    return await import("./engine.js");
  } catch (cause) {
    if (typeof ServiceWorkerGlobalScope === "function") {
      throw new ObserverError(
        "environment",
        "a service worker can't load a script while it runs: import from `opp2p/static` instead of `opp2p`",
        { cause },
      );
    }
    throw new ObserverError(
      "environment",
      `a script of the package can't be loaded (${words(cause)})`,
      { cause },
    );
  }
}

export const observe = /* @__PURE__ */ observing(load);
export const inspect = /* @__PURE__ */ inspecting(load);
