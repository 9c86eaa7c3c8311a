// Loads the engine on this thread, for the entry points that usually run it in a worker.

import { ObserverError, words } from "./errors.js";

export async function load() {
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
