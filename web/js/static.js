// The package for service workers and other places that can't start a worker or load a script while
// they run: the node runs on this thread, and every script is imported statically.

import * as engine from "./engine.js";
import { inspecting, observing } from "./start.js";

export { ObserverError } from "./errors.js";
export { Observer } from "./observer.js";

const load = async () => engine;

export const observe = /* @__PURE__ */ observing(load, { isHere: true });
export const inspect = /* @__PURE__ */ inspecting(load);
