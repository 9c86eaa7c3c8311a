// The shared worker: one node for each set of options, for all tabs of an origin.

import { start } from "./engine.js";
import { Hub, attend } from "./hub.js";

/** The nodes, by the key of their options. */
const hubs = new Map();

/** Starts a node. A crash makes the module unusable, so the worker closes. */
function begin(options, tell) {
  return start(options, (kind, ...report) => {
    tell(kind, ...report);
    if (kind === "crashed") setTimeout(() => globalThis.close());
  });
}

function hubOf(key) {
  if (!hubs.has(key)) hubs.set(key, new Hub(begin, () => hubs.delete(key)));
  return hubs.get(key);
}

globalThis.addEventListener("connect", ({ ports: [port] }) => attend(port, hubOf));
