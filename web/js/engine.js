// The node on the thread that runs this: loads the module once, starts nodes in it.

import init, { Node, inspectMessage, newIdentity, onCrash } from "./wasm/opp2p_web.js";
import { ObserverError, asObserverError } from "./errors.js";
import { storedIdentity } from "./identity.js";

let loading;
let exported;
const crashListeners = new Set();

/** Loads the module; the second call waits for the first. */
export function load() {
  loading ??= (async () => {
    if (typeof WebAssembly !== "object" || typeof WebAssembly.instantiate !== "function") {
      throw new ObserverError("webassembly", "this browser has no WebAssembly, or it is switched off");
    }
    try {
      exported = await init();
    } catch (error) {
      const why = error && error.message ? error.message : String(error);
      throw new ObserverError(
        "webassembly",
        `the WebAssembly module can't be loaded (${why}); a content-security policy has to allow it: script-src 'wasm-unsafe-eval'`,
      );
    }
    onCrash((json) => {
      const { detail } = JSON.parse(json);
      for (const listener of [...crashListeners]) listener(detail);
    });
  })();
  // Whoever comes later may try again.
  loading.catch(() => (loading = undefined));
  return loading;
}

/**
 * Starts a node. `tell(kind, detail, payload)` gets what happens; the answer has what the node is, and how to
 * speak to it.
 *
 * @param options `{ node: <what the module reads>, identity: "fresh" | "persistent" }`
 */
export async function start(options, tell) {
  await load();
  let identity;
  if (options.identity === "persistent") {
    try {
      identity = await storedIdentity(newIdentity);
    } catch (error) {
      throw asObserverError(error, "storage");
    }
  }
  const secure = globalThis.location?.protocol === "https:";
  const json = JSON.stringify({ ...options.node, isSecurePage: options.isSecurePage ?? secure });
  const crashed = (detail) => {
    crashListeners.delete(crashed);
    tell("crashed", detail);
  };
  let node;
  try {
    node = new Node(json, identity, (text, payload) => {
      const { kind, detail } = JSON.parse(text);
      if (kind === "status") detail.memory = exported.memory.buffer.byteLength;
      tell(kind, detail, payload);
    });
  } catch (error) {
    throw asObserverError(error, "option");
  }
  crashListeners.add(crashed);
  return {
    about: JSON.parse(node.about),
    networkChanged: () => node?.networkChanged(),
    async stop() {
      const running = node;
      node = undefined;
      crashListeners.delete(crashed);
      await running?.stop();
    },
  };
}

/** Judges one message, see `inspect` of the interface. */
export async function inspect(network, topic, message, seconds, signer) {
  await load();
  try {
    return JSON.parse(inspectMessage(network, topic, message, seconds, signer));
  } catch (error) {
    throw asObserverError(error, "option");
  }
}
