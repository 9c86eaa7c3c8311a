// The package's interface, with the node in a worker where there are workers. index.d.ts has its
// documentation.

import { load } from "./load.js";
import { inspecting, observing } from "./start.js";

export { ObserverError } from "./errors.js";
export { Observer } from "./observer.js";

export const observe = /* @__PURE__ */ observing(load);
export const inspect = /* @__PURE__ */ inspecting(load);
