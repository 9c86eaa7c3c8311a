// The options of `observe` and the arguments of `inspect`: checked as far as the node can't, and in
// the form that it reads.

import { ObserverError, words } from "./errors.js";
import { isSource } from "./module.js";

/** Seconds for a start, unless the page sets others: longer than a slow line takes. */
const START_SECONDS = 60;
/** Maximum number of entries that are read of a list: more than the node allows. */
const MOST_ENTRIES = 1000;

const refuse = (code, message, cause) => {
  throw new ObserverError(code, message, { cause });
};

/** Returns whether a value is an AbortSignal, of this page or of another realm. */
export const isSignal = (value) =>
  typeof value === "object" &&
  value !== null &&
  typeof value.aborted === "boolean" &&
  typeof value.addEventListener === "function";

/** Returns whether a value is a worker. */
export const isWorker = (value) =>
  typeof value === "object" &&
  value !== null &&
  typeof value.postMessage === "function" &&
  typeof value.terminate === "function" &&
  typeof value.addEventListener === "function";

const isGiven = (value) => value !== undefined && value !== null;

/** Returns a text, or an iterable of texts, as a list. `null` for anything else. */
function texts(value) {
  if (typeof value === "string") return [value];
  if (typeof value?.[Symbol.iterator] !== "function") return null;
  const list = [];
  for (const entry of value) {
    if (typeof entry !== "string") return null;
    list.push(entry);
    if (list.length > MOST_ENTRIES) break;
  }
  return list;
}

function isUrl(text) {
  try {
    return new URL(text).host !== "";
  } catch {
    return false;
  }
}

/**
 * Returns a network as the node reads it: a name, a chain id, or the text of a rollup
 * configuration.
 */
export function named(network) {
  if (typeof network === "number" || typeof network === "bigint") return String(network);
  // Editors of some systems put a byte order mark in front of a file.
  if (typeof network === "string") return network.replace(/^\uFEFF/, "");
  if (typeof network !== "object" || network === null) {
    refuse(
      "network",
      "`network` is neither a name, a chain id, a chain with an `id` nor a rollup configuration",
    );
  }
  // A chain as viem describes it.
  if (network.genesis === undefined && Number.isSafeInteger(network.id)) return String(network.id);
  try {
    return JSON.stringify(network);
  } catch (error) {
    return refuse("network", `\`network\` can't be written as JSON (${words(error)})`, error);
  }
}

function checkWorker(worker, isHere) {
  if (worker === undefined || worker === false) return;
  if (isHere)
    refuse(
      "option",
      "this entry of opp2p runs the node on its own thread: leave `worker` out, or import from `opp2p`",
    );
  const isPlace =
    typeof worker === "string" ||
    typeof worker?.href === "string" ||
    Object.prototype.toString.call(worker) === "[object TrustedScriptURL]";
  if (worker === true || typeof worker === "function" || isWorker(worker) || isPlace) return;
  refuse(
    "option",
    "`worker` is neither true nor false, a URL, a Worker nor a function that returns a Worker",
  );
}

function checkWasm(wasm) {
  if (wasm === undefined || typeof wasm?.then === "function" || isSource(wasm)) return;
  refuse("option", "`wasm` is neither a URL, a Response, bytes nor a WebAssembly.Module");
}

/** Checks the options that only the scripts read. */
function check(
  {
    signer,
    readSigner,
    worker,
    wasm,
    identity,
    fromGenesis,
    onGap,
    maxGap,
    gapMemory,
    gapPatience,
    startTimeout,
    signal,
    keep,
  },
  isHere,
) {
  if (isGiven(signer) && typeof signer !== "string") refuse("signer", "`signer` is not a string");
  if (readSigner !== undefined && typeof readSigner !== "function")
    refuse("option", "`readSigner` is not a function");
  if (identity !== undefined && identity !== "fresh" && identity !== "persistent") {
    refuse("option", '`identity` is neither "fresh" nor "persistent"');
  }
  for (const [name, value] of Object.entries({ maxGap, gapMemory, gapPatience })) {
    if (value !== undefined && !(typeof value === "number" && Number.isFinite(value)))
      refuse("option", `\`${name}\` is not a number`);
  }
  if (onGap !== undefined && onGap !== "fill" && onGap !== "skip")
    refuse("option", '`onGap` is neither "fill" nor "skip"');
  if (fromGenesis !== undefined && typeof fromGenesis !== "boolean")
    refuse("option", "`fromGenesis` is neither true nor false");
  if (keep !== undefined && typeof keep !== "boolean")
    refuse("option", "`keep` is neither true nor false");
  if (startTimeout !== undefined && !(typeof startTimeout === "number" && startTimeout > 0)) {
    refuse("option", "`startTimeout` is not a number of seconds above 0");
  }
  if (isGiven(signal) && !isSignal(signal))
    refuse("option", "`signal` is not an AbortSignal: give the `signal` of an AbortController");
  checkWorker(worker, isHere);
  checkWasm(wasm);
}

/** Returns the option `reads` in the node's form, or `null` without it. */
function readsOf(reads, endpoints) {
  if (reads === undefined) return null;
  if (typeof reads !== "object" || reads === null)
    refuse("option", "`reads` is not an object of options");
  const { unverified, lag, ...rest } = reads;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse("option", `\`reads\` has no option \`${unknown}\``);
  if (endpoints.length === 0)
    refuse("option", "`rpc` has no endpoint: give at least one to read from");
  const methods =
    texts(unverified ?? []) ?? refuse("option", "`unverified` is not a list of method names");
  const isLag = (value) => {
    const [[name, bound] = [], ...more] = Object.entries(value ?? {});
    return (
      more.length === 0 &&
      (name === "wait" || name === "newest") &&
      typeof bound === "number" &&
      Number.isFinite(bound)
    );
  };
  if (lag !== undefined && !isLag(lag))
    refuse("option", "`lag` is neither `{ wait: <seconds> }` nor `{ newest: <blocks> }`");
  return { unverified: methods, ...(lag === undefined ? {} : { lag: { ...lag } }) };
}

/**
 * Returns the options of `observe` in the form that the node reads, and the ones of the scripts.
 *
 * @param isHere whether the node can only run on this thread
 */
export function read(options, isHere) {
  if (typeof options !== "object" || options === null)
    refuse("option", "observe() takes an object of options");
  const { network, peers, rpc, ...others } = options;
  const {
    signer,
    readSigner,
    worker,
    wasm,
    identity,
    fromGenesis,
    onGap,
    maxGap,
    gapMemory,
    gapPatience,
    startTimeout,
    signal,
    reads,
    keep,
    ...rest
  } = others;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse("option", `there is no option \`${unknown}\``);
  check(others, isHere);
  const list =
    texts(peers) ?? refuse("address", "`peers` is neither a multiaddr nor a list of them");
  const endpoints =
    texts(rpc ?? []) ??
    refuse("option", "`rpc` is neither the URL of a JSON-RPC endpoint nor a list of them");
  // Only a browser knows which URLs it can ask. No text contains the URL, which can hold a key.
  if (!endpoints.every(isUrl))
    refuse("option", "an endpoint of `rpc` is not a URL: give https://<host>, or http://<host>");
  const reading = readsOf(reads, endpoints);
  return {
    worker,
    wasm,
    signal: signal ?? undefined,
    readSigner,
    reads: reading,
    startSeconds: startTimeout ?? START_SECONDS,
    start: {
      identity: identity ?? "fresh",
      keep: keep ?? false,
      isSecurePage: globalThis.location?.protocol === "https:",
      node: {
        network: named(network),
        peers: list,
        rpc: endpoints,
        signer: signer ?? null,
        readsSigner: readSigner !== undefined,
        fromGenesis: fromGenesis ?? false,
        ...(onGap === undefined ? {} : { onGap }),
        ...(maxGap === undefined ? {} : { maxGap }),
        gapMemory: gapMemory ?? null,
        gapPatience: gapPatience ?? null,
        ...(reading === null
          ? {}
          : { reads: { unverified: reading.unverified, ...reading.lag } }),
      },
    },
  };
}

/** Returns the arguments of `inspect` as the node reads them. */
export function readMessage(network, topic, message, now, signer, wasm) {
  const text = named(network);
  if (!Number.isInteger(topic) || topic < 1 || topic > 4)
    refuse("option", "`topic` is not a version of the topic: give 1, 2, 3 or 4");
  if (
    !(message instanceof Uint8Array) &&
    Object.prototype.toString.call(message) !== "[object Uint8Array]"
  ) {
    refuse("option", "`message` is not a Uint8Array");
  }
  if (typeof now !== "number" || !Number.isFinite(now))
    refuse("option", "`now` is not a time: give milliseconds since 1970, as Date.now() returns them");
  if (isGiven(signer) && typeof signer !== "string") refuse("signer", "`signer` is not a string");
  checkWasm(wasm);
  return [text, topic, message, now / 1000, signer ?? undefined, wasm];
}
