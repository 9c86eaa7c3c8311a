// The package's interface; index.d.ts has its documentation.

import { Block } from "./block.js";
import { ObserverError, asObserverError } from "./errors.js";

export { ObserverError };

/** Blocks that an iterator may be behind. */
const QUEUED_BLOCKS = 256;
/** How long a worker has to close its connections. */
const FAREWELL_MS = 2000;

/** Options of `observe`, checked as far as only this side can, in the form that the node reads. */
function read(options) {
  const refuse = (code, message) => {
    throw new ObserverError(code, message);
  };
  if (typeof options !== "object" || options === null) refuse("option", "observe() takes an object of options");
  const { network, peers, signer, worker, identity, fromGenesis, gapMemory, gapPatience, signal, ...rest } = options;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse("option", `there is no option \`${unknown}\``);
  const list = typeof peers === "string" ? [peers] : peers;
  if (!Array.isArray(list) || list.some((peer) => typeof peer !== "string")) {
    refuse("address", "`peers` is neither a multiaddr nor a list of them");
  }
  if (signer !== undefined && signer !== null && typeof signer !== "string") refuse("signer", "`signer` is no text");
  if (identity !== undefined && identity !== "fresh" && identity !== "persistent") {
    refuse("option", '`identity` is neither "fresh" nor "persistent"');
  }
  for (const [name, value] of Object.entries({ gapMemory, gapPatience })) {
    if (value !== undefined && !(typeof value === "number" && Number.isFinite(value))) {
      refuse("option", `\`${name}\` is no number`);
    }
  }
  for (const [name, value] of Object.entries({ worker, fromGenesis })) {
    if (value !== undefined && typeof value !== "boolean") refuse("option", `\`${name}\` is neither true nor false`);
  }
  return {
    inWorker: worker ?? true,
    signal,
    start: {
      identity: identity ?? "fresh",
      isSecurePage: globalThis.location?.protocol === "https:",
      node: {
        network: named(network),
        peers: list,
        signer: signer ?? null,
        fromGenesis: fromGenesis ?? false,
        gapMemory: gapMemory ?? null,
        gapPatience: gapPatience ?? null,
      },
    },
  };
}

/** A network as the node reads it: a name, or the text of a rollup configuration. */
function named(network) {
  if (typeof network === "number" || typeof network === "bigint") return String(network);
  if (typeof network === "string") return network;
  if (typeof network === "object" && network !== null) return JSON.stringify(network);
  throw new ObserverError("network", "`network` is neither a name, a chain id nor a rollup configuration");
}

/** A node in a worker, with the face that engine.js gives one on this thread. */
async function startInWorker(start, tell) {
  let worker;
  try {
    worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "opp2p" });
  } catch (error) {
    throw asObserverError(error, "worker");
  }
  let answered;
  const answer = new Promise((resolve, reject) => (answered = { resolve, reject }));
  let stopped = () => {};
  worker.onmessage = ({ data }) => {
    if (data.kind) tell(data.kind, data.detail, data.payload);
    else if (data.started) answered.resolve(data.started);
    else if (data.failed) answered.reject(new ObserverError(data.failed.code, data.failed.message));
    else if (data.stopped) stopped();
  };
  worker.onerror = (event) => {
    event.preventDefault?.();
    const message = event.message || "the worker's script can't be loaded; a content-security policy has to allow it: worker-src 'self'";
    answered.reject(new ObserverError("worker", message));
    tell("crashed", message);
  };
  worker.postMessage({ start });
  try {
    const about = await answer;
    return {
      about,
      networkChanged: () => worker.postMessage({ networkChanged: true }),
      stop: async () => {
        const done = new Promise((resolve) => (stopped = resolve));
        worker.postMessage({ stop: true });
        await Promise.race([done, new Promise((resolve) => setTimeout(resolve, FAREWELL_MS))]);
        worker.terminate();
      },
    };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

async function startHere(start, tell) {
  const { start: begin } = await import("./engine.js");
  return begin(start, tell);
}

/** One consumer's queue of blocks. */
class Blocks {
  #queue = [];
  #waiting = [];
  #ended = false;
  #missed;
  #leave;

  constructor(missed, leave) {
    this.#missed = missed;
    this.#leave = leave;
  }

  push(block) {
    const waiting = this.#waiting.shift();
    if (waiting) return waiting({ value: block, done: false });
    this.#queue.push(block);
    if (this.#queue.length > QUEUED_BLOCKS) this.#missed(this.#queue.shift());
  }

  end() {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting({ value: undefined, done: true });
  }

  next() {
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#queue.shift(), done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return() {
    this.#queue.length = 0;
    this.end();
    this.#leave(this);
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/** Only `observe` makes one. */
const MADE = Symbol("observe");

export class Observer extends EventTarget {
  #node;
  #status = { head: null, highest: null, peers: [], counters: null };
  #memory = 0;
  #consumers = new Set();
  #stopping;
  #signal;
  #abort = () => void this.stop();
  /** The network is back, or the reader: whoever waits to be dialled need not wait. */
  #back = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.#node?.networkChanged();
  };

  constructor(made, node, signal) {
    super();
    if (made !== MADE) throw new TypeError("observers are made by observe()");
    this.#node = node;
    this.#signal = signal;
    this.network = Object.freeze(node.about.network);
    this.peerId = node.about.peerId;
    signal?.addEventListener("abort", this.#abort, { once: true });
    globalThis.addEventListener?.("online", this.#back);
    globalThis.document?.addEventListener("visibilitychange", this.#back);
  }

  get head() {
    return this.#status.head;
  }

  get highest() {
    return this.#status.highest;
  }

  get peers() {
    return this.#status.peers;
  }

  get counters() {
    const zero = { blocks: 0, accepted: 0, rejected: {}, ignored: {}, fetched: 0, bytesIn: 0, bytesOut: 0 };
    return { ...(this.#status.counters ?? zero), memory: this.#memory };
  }

  get stopped() {
    return this.#stopping !== undefined;
  }

  get blocks() {
    const consumers = this.#consumers;
    return {
      [Symbol.asyncIterator]: () => {
        const leave = (blocks) => consumers.delete(blocks);
        const missed = (block) => {
          const message = `a consumer of \`blocks\` is more than ${QUEUED_BLOCKS} blocks behind and misses block ${block.number}`;
          this.#dispatch("error", new ObserverError("lagging", message));
        };
        const blocks = new Blocks(missed, leave);
        if (this.stopped) blocks.end();
        else consumers.add(blocks);
        return blocks;
      },
    };
  }

  on(type, listener) {
    const call = (event) => listener(event.detail);
    this.addEventListener(type, call);
    return () => this.removeEventListener(type, call);
  }

  stop() {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop() {
    this.#signal?.removeEventListener("abort", this.#abort);
    globalThis.removeEventListener?.("online", this.#back);
    globalThis.document?.removeEventListener("visibilitychange", this.#back);
    const node = this.#node;
    this.#node = undefined;
    this.#end();
    await node?.stop();
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.stop();
  }

  #end() {
    for (const blocks of this.#consumers) blocks.end();
    this.#consumers.clear();
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** What the node tells. */
  told(made, kind, detail, payload) {
    if (made !== MADE || this.stopped) return;
    switch (kind) {
      case "status":
        this.#memory = detail.memory ?? this.#memory;
        this.#status = detail;
        break;
      case "block": {
        const block = new Block(detail, payload);
        const { number, hash, timestamp, receivedAt } = block;
        this.#status.head = { number, hash, timestamp, receivedAt };
        for (const blocks of [...this.#consumers]) blocks.push(block);
        this.#dispatch("block", block);
        break;
      }
      case "error":
        this.#dispatch("error", new ObserverError(detail.code, detail.message));
        break;
      case "crashed":
        this.#dispatch("error", new ObserverError("crashed", `the node ended by a defect of its own: ${detail}`));
        void this.stop();
        break;
      case "peer": {
        const { what: _, ...peer } = detail;
        this.#status.peers = this.#status.peers.map((known) => (known.id === peer.id ? peer : known));
        this.#dispatch("peer", detail);
        break;
      }
      default:
        this.#dispatch(kind, detail);
    }
  }
}

export async function observe(options) {
  const { inWorker, signal, start } = read(options);
  const aborted = () => new ObserverError("stopped", "the observer was stopped before it started");
  if (signal?.aborted) throw aborted();
  // What comes before there is an observer waits for it.
  let hear;
  const early = [];
  const tell = (...told) => (hear ? hear(told) : early.push(told));
  let node;
  try {
    node = await (inWorker ? startInWorker : startHere)(start, tell);
  } catch (error) {
    throw asObserverError(error, inWorker ? "worker" : "option");
  }
  if (signal?.aborted) {
    await node.stop();
    throw aborted();
  }
  const observer = new Observer(MADE, node, signal);
  // A listener that is added in the turn in which `await observe()` returns hears all of it.
  setTimeout(() => {
    hear = (told) => observer.told(MADE, ...told);
    early.splice(0).forEach(hear);
  });
  return observer;
}

export async function inspect(network, topic, message, now, signer) {
  const engine = await import("./engine.js");
  return engine.inspect(named(network), topic, message, now / 1000, signer);
}
