// The page's side of a node in a worker. It has the same interface as a node that engine.js starts
// on this thread.

import { COPIES, answered, forbidden, reported, violations } from "./diagnose.js";
import { ObserverError, asObserverError, words } from "./errors.js";
import { portable } from "./module.js";
import { isWorker } from "./options.js";
import { folder, isForeign, unbundled } from "./place.js";

/** Milliseconds for a node to close its connections. */
const FAREWELL_MS = 2000;
const OPTIONS = { type: "module", name: "opp2p" };

/** Workers that serve an observer: a worker runs one node. */
const taken = new WeakSet();

/** Waits for a node to close its connections, but not for ever. */
export async function inTime(stopped) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, FAREWELL_MS)));
  await Promise.race([stopped, late]);
  clearTimeout(timer);
}

let policy;

/** Makes a worker from a URL where the page requires trusted types, too. */
function trusting(url) {
  try {
    return new Worker(url, OPTIONS);
  } catch (error) {
    if (!(error instanceof TypeError) || typeof url !== "string" || !globalThis.trustedTypes)
      throw error;
    policy ??= globalThis.trustedTypes.createPolicy("opp2p", { createScriptURL: (text) => text });
    return new Worker(policy.createScriptURL(url), OPTIONS);
  }
}

/** Makes a worker from the URL of its script. Browsers start no script of another origin itself. */
function fromUrl(url) {
  if (!isForeign(url)) return { worker: trusting(url.href), url };
  const blob = URL.createObjectURL(
    new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }),
  );
  try {
    return { worker: trusting(blob), url, blob };
  } catch (error) {
    URL.revokeObjectURL(blob);
    throw error;
  }
}

/** Makes the worker beside this script. Resolves to it and its URL, if that is known. */
async function beside() {
  const own = await unbundled();
  if (own) return fromUrl(new URL("worker.js", own));
  const base = folder();
  const url = base && new URL("worker.js", base);
  if (url && isForeign(url)) return fromUrl(url);
  try {
    // Bundlers recognise this expression, and no other.
    return {
      worker: new Worker(new URL("./worker.js", import.meta.url), {
        type: "module",
        name: "opp2p",
      }),
      url,
    };
  } catch (error) {
    if (url && error instanceof TypeError && globalThis.trustedTypes) return fromUrl(url);
    throw error;
  }
}

async function called(make) {
  try {
    return await make();
  } catch (cause) {
    throw new ObserverError("worker", `the function \`worker\` failed (${words(cause)})`, {
      cause,
    });
  }
}

/** Makes the worker that the option `worker` names. */
async function make(choice) {
  if (choice === undefined || choice === true) return { ...(await beside()), hint: `; ${COPIES}` };
  if (isWorker(choice)) return { worker: choice };
  if (typeof choice === "function") {
    const worker = await called(choice);
    if (!isWorker(worker))
      throw new ObserverError("option", "the function `worker` returned no Worker");
    return { worker };
  }
  if (Object.prototype.toString.call(choice) === "[object TrustedScriptURL]")
    return { worker: trusting(choice) };
  let url;
  try {
    url = new URL(choice.href ?? choice, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch (cause) {
    throw new ObserverError("option", "`worker` is not a URL: give an absolute one", { cause });
  }
  return fromUrl(url);
}

/**
 * Returns whether a violation of the policy is about the worker. Others may break it at the same
 * time.
 */
const isAbout =
  (url) =>
  ({ directive, uri }) =>
    /^(worker|child)-src/.test(directive) || uri.startsWith("trusted-types") || uri === url?.href;

/** Returns the reason why a worker failed before it answered. */
async function reason({ url, blob, hint = "" }, watch, said) {
  await reported();
  const violation = watch.seen.find(isAbout(url));
  if (violation) return `the worker can't be loaded: ${forbidden(violation)}`;
  if (said) return `the worker ended at its start: ${said}`;
  if (!url) return "the worker's script can't be loaded, or one of the scripts that it imports";
  const wrong = await answered(url, /javascript/, "JavaScript");
  if (wrong) return `the worker's script can't be loaded: ${wrong}${hint}`;
  if (blob)
    return (
      "the worker's script can't be loaded from another origin: " +
      `the content-security policy has to allow \`worker-src blob:\` and \`script-src ${url.origin}\``
    );
  return `the worker's script ${url} can't be loaded, or one of the scripts that it imports`;
}

/** Waits for the answer to the start: resolves to the node's description of itself. */
function answer(made, watch, tell, hooks, cancelled) {
  const { worker } = made;
  return new Promise((resolve, reject) => {
    let isStarted = false;
    const fail = (message) =>
      isStarted ? tell("crashed", message) : reject(new ObserverError("worker", message));
    const start = (about) => {
      // Another node goes on for this observer.
      if (isStarted) tell("about", about);
      isStarted = true;
      resolve(about);
    };
    worker.addEventListener("message", ({ data }) => {
      if (data?.kind) tell(data.kind, data.detail, data.payload);
      else if (data?.started) start(data.started);
      else if (data?.failed) reject(new ObserverError(data.failed.code, data.failed.message));
      else if (data?.answered) hooks.answered(data.answered);
      else if (data?.stopped) hooks.stopped();
    });
    worker.addEventListener("messageerror", () => fail("a message of the worker can't be read"));
    worker.addEventListener("error", (event) => {
      event.preventDefault?.();
      if (isStarted) fail(event.message || "its worker ended");
      else reason(made, watch, event.message).then(fail, (error) => fail(words(error)));
    });
    cancelled.addEventListener("abort", () => reject(cancelled.reason), { once: true });
  });
}

/**
 * Starts a node in a worker.
 *
 * @param start the options, for the worker
 * @param choice the option `worker`
 * @param wasm the option `wasm`
 * @param {AbortSignal} cancelled ends the worker at once
 */
export async function startInWorker(start, tell, choice, wasm, cancelled) {
  const watch = violations();
  let made;
  try {
    made = await make(choice);
    if (taken.has(made.worker)) {
      made = undefined;
      throw new ObserverError("option", "`worker` serves another observer: give each its own");
    }
    taken.add(made.worker);
    if (cancelled.aborted) throw cancelled.reason;
    const hooks = { stopped: () => {}, answered: () => {} };
    const about = answer(made, watch, tell, hooks, cancelled);
    const asked = portable(wasm).then((module) =>
      made.worker.postMessage({ start: { ...start, wasm: module } }),
    );
    return running(made, (await Promise.all([about, asked]))[0], hooks);
  } catch (error) {
    made?.worker.terminate();
    if (error instanceof ObserverError || cancelled.aborted) throw error;
    // The constructor itself refuses: a policy, or an invalid URL.
    await reported();
    throw unmade(error, watch.seen.find(isAbout()));
  } finally {
    watch.end();
    if (made?.blob) URL.revokeObjectURL(made.blob);
  }
}

/**
 * Returns the error for a constructor that refused, and the violation of the policy if there is
 * one.
 */
function unmade(error, violation) {
  const because = (why) =>
    new ObserverError("worker", `the worker can't be made${why}`, { cause: error });
  if (violation) return because(`: ${forbidden(violation)}, or give the option \`worker\``);
  if (error?.name === "SecurityError")
    return because(
      ` (${words(error)}): ` +
        "give the option `worker` the URL of a copy of `opp2p/worker.js` on this origin, or false",
    );
  if (words(error).includes("URL")) return because(` (${words(error)}): ${COPIES}`);
  return asObserverError(error, "worker");
}

/** Returns the functions that control the node of a worker. */
function running({ worker }, about, hooks) {
  /** Questions under way, by their number. */
  const asked = new Map();
  let count = 0;
  hooks.answered = ({ id, value, failed }) => {
    const { resolve, reject } = asked.get(id) ?? {};
    asked.delete(id);
    if (failed) reject?.(new ObserverError(failed.code, failed.message));
    else resolve?.(value);
  };
  const ask = (what, ...given) =>
    new Promise((resolve, reject) => {
      const id = (count += 1);
      asked.set(id, { resolve, reject });
      worker.postMessage({ ask: { id, what, given } });
    });
  const ended = () => new ObserverError("stopped", "the observer has ended");
  return {
    about,
    networkChanged: () => worker.postMessage({ networkChanged: true }),
    signerRead: (signer) => worker.postMessage({ signerRead: { signer } }),
    decode: (...block) => ask("decode", ...block),
    block: (wanted) => ask("block", wanted),
    read: (...question) => ask("read", ...question),
    cancelRead: (ticket) => worker.postMessage({ cancelRead: ticket }),
    async stop() {
      for (const { reject } of asked.values()) reject(ended());
      asked.clear();
      const done = new Promise((resolve) => (hooks.stopped = resolve));
      worker.postMessage({ stop: true });
      await inTime(done);
      worker.terminate();
    },
  };
}
