// The node on the current thread: loads the module once and starts nodes in it. After a crash of
// one node the module is never called again on this thread: its memory may be in any state.

import init, * as module from "./wasm/opp2p_web.js";
import { violations, forbidden } from "./diagnose.js";
import { ObserverError, asObserverError } from "./errors.js";
import { storedIdentity } from "./identity.js";
import { execute } from "./evm.js";
import { open } from "./kept.js";
import { compile } from "./module.js";
import { poster } from "./rpc.js";

let loading;
let exported;
/** What crashed the module, once it has. */
let crash;
const crashListeners = new Set();

/** Fails if the module has crashed. */
function mustBeSound() {
  if (crash === undefined) return;
  throw new ObserverError(
    "crashed",
    `a node ended by a defect of its own on this thread before (${crash}), ` +
      "and the module can't be used here again: reload the page, or run the node in a worker",
  );
}

/** Fails where a part of the browser that the node needs is missing. */
function mustHaveBrowser() {
  const missing = (what, remedy) => {
    throw new ObserverError("environment", `there is no ${what} here: ${remedy}`);
  };
  if (typeof globalThis.WebSocket !== "function")
    missing("WebSocket", "use Node.js 22 or newer, or set `globalThis.WebSocket`");
  if (typeof globalThis.crypto?.getRandomValues !== "function")
    missing("crypto.getRandomValues", "use a newer runtime");
  // The module looks for timers in a window or a worker. Node.js and Bun have them, but neither of
  // these names.
  if (globalThis.Window ?? globalThis.WorkerGlobalScope) return;
  const value = class WorkerGlobalScope {
    static [Symbol.hasInstance]() {
      return false;
    }
  };
  Object.defineProperty(globalThis, "WorkerGlobalScope", { value, configurable: true });
}

/**
 * Loads the module once, from `source`; see `compile`. Concurrent calls wait for the first, whose
 * source counts.
 */
export async function load(source) {
  loading ??= (async () => {
    const compiled = await compile(source);
    try {
      exported = await init({ module_or_path: compiled });
    } catch (error) {
      const why = asObserverError(error, "webassembly").message;
      throw new ObserverError(
        "webassembly",
        `the WebAssembly module can't be started (${why}): it is of another version of opp2p`,
        { cause: error },
      );
    }
    module.onCrash((json) => {
      const { detail } = JSON.parse(json);
      crash ??= detail;
      for (const listener of [...crashListeners]) listener(detail);
    });
  })();
  // After a failure, a later call may try again.
  loading.catch(() => (loading = undefined));
  await loading;
  mustBeSound();
}

/** Reports each origin once that the content-security policy forbids the node to reach. */
function watchPolicy(tell) {
  const reported = new Set();
  return violations((violation) => {
    const { directive, uri } = violation;
    if (
      directive !== "connect-src" ||
      !/^wss?:/.test(uri) ||
      reported.has(uri) ||
      reported.size >= 64
    )
      return;
    reported.add(uri);
    tell("error", { code: "policy", message: forbidden(violation) });
  });
}

/**
 * Starts a node. It reports to `tell(kind, detail, payload)`. Resolves to the node's identity and
 * network (`about`) and the functions that control it.
 *
 * @param options `{ node: <options that the module reads>, identity: "fresh" | "persistent", keep,
 *   wasm, resume }`. The node goes on from the block of `resume`, which is `{ head, headAt }` as
 *   kept.js has them, rather than from the kept one, and with the signer in it
 * @param {AbortSignal} [cancelled] ends the start as soon as it can
 */
export async function start(options, tell, cancelled) {
  mustHaveBrowser();
  await load(options.wasm);
  let kept = null;
  if (options.identity === "persistent") {
    try {
      kept = await storedIdentity(module.newIdentity);
    } catch (error) {
      mustBeSound();
      throw asObserverError(error, "storage");
    }
  }
  const store = options.keep ? await open(options.node) : null;
  const secure = globalThis.location?.protocol === "https:";
  const { signer } = options.resume ?? {};
  const from = options.resume?.head ? options.resume : store;
  const json = JSON.stringify({
    ...options.node,
    ...(signer ? { signer } : {}),
    isSecurePage: options.isSecurePage ?? secure,
    keptAt: from?.headAt ?? null,
    memory: store?.peers ?? null,
  });
  if (cancelled?.aborted) {
    kept?.release();
    throw new ObserverError("stopped", "the observer was stopped before it started");
  }
  const endpoints = poster();
  const policy = watchPolicy(tell);
  const ending = () => {
    endpoints.stop();
    policy.end();
    store?.end();
  };
  /** Rejections of the questions under way: a node that ends does not answer them. */
  const questions = new Set();
  const unanswered = (code, message) =>
    questions.forEach((fail) => fail(new ObserverError(code, message)));
  const ended = () => {
    ending();
    kept?.release();
  };
  let node;
  /** Asks the node a question. Rejects if the node ends before it answers. */
  const asked = async (question) => {
    let fail;
    const lost = new Promise((_, reject) => questions.add((fail = reject)));
    try {
      mustBeSound();
      if (!node) throw new ObserverError("stopped", "the observer has ended");
      return await Promise.race([question(node), lost]);
    } catch (error) {
      throw asObserverError(error, "option");
    } finally {
      questions.delete(fail);
    }
  };
  const crashed = (detail) => {
    crashListeners.delete(crashed);
    // It is not called again, not even to be freed.
    node = undefined;
    ended();
    unanswered("crashed", `the node ended by a defect of its own: ${detail}`);
    tell("crashed", detail);
  };
  const told = (text, payload) => {
    const { kind, detail } = JSON.parse(text);
    if (kind === "remember") return store?.remember(detail);
    if (kind === "block") store?.block(detail, payload);
    if (kind === "status") detail.memory = exported.memory.buffer.byteLength;
    tell(kind, detail, payload);
  };
  try {
    // Another node may have crashed while the identity was read.
    mustBeSound();
    node = new module.Node(json, kept?.identity, from?.head, told, endpoints.post, execute);
  } catch (error) {
    ended();
    mustBeSound();
    throw asObserverError(error, "option");
  }
  crashListeners.add(crashed);
  return {
    about: JSON.parse(node.about),
    networkChanged: () => node?.networkChanged(),
    signerRead: (signer) => node?.signerRead(signer ?? undefined),
    decode: async (...block) => decode(...block),
    async block(wanted) {
      const found = await asked((running) => running.block(wanted));
      return found && { detail: JSON.parse(found[0]).detail, payload: found[1] };
    },
    async read(ticket, method, params) {
      return JSON.parse(await asked((running) => running.read(ticket, method, params)));
    },
    cancelRead: (ticket) => node?.cancelRead(ticket),
    async stop() {
      const running = node;
      node = undefined;
      ending();
      unanswered("stopped", "the observer has ended");
      if (!running) return;
      // A node that crashes while it stops never answers.
      let crashes;
      const crash = new Promise((resolve) => (crashes = resolve));
      crashListeners.delete(crashed);
      crashListeners.add(crashes);
      await Promise.race([running.stop(), crash]);
      crashListeners.delete(crashes);
      kept?.release();
    },
  };
}

/**
 * Returns a block as `eth_getBlockByHash` answers it, with its transactions.
 *
 * @param {number} version of the payload
 * @param {Uint8Array} payload
 * @param {string | null} parentBeaconBlockRoot
 */
function decode(version, payload, parentBeaconBlockRoot) {
  mustBeSound();
  try {
    return JSON.parse(module.decodeBlock(version, payload, parentBeaconBlockRoot ?? undefined));
  } catch (error) {
    mustBeSound();
    throw asObserverError(error, "option");
  }
}

/** Judges one message; see `inspect` in index.d.ts. */
export async function inspect(network, topic, message, seconds, signer, wasm) {
  await load(wasm);
  try {
    return JSON.parse(module.inspectMessage(network, topic, message, seconds, signer));
  } catch (error) {
    mustBeSound();
    throw asObserverError(error, "option");
  }
}
