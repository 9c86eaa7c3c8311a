// A running observer: takes the node's reports, keeps snapshots of its state, and hands everything
// on to listeners and iterators.

import { Block } from "./block.js";
import { ObserverError, words } from "./errors.js";
import { isSignal } from "./options.js";
import { Queue } from "./queue.js";

/** Names of the events. */
const EVENTS = new Set([
  "block",
  "head",
  "gap",
  "reorg",
  "equivocation",
  "peer",
  "rejected",
  "trouble",
  "trouble-ended",
  "signer",
  "lie",
  "status",
  "error",
]);

/** Bounds of an iterator that sets none. */
const DEFAULTS = { maxBlocks: 256, maxBytes: 64 << 20 };
/** Maximum number of blocks and marks that an iterator may ask for. */
const MOST_BLOCKS = 65_536;

/** Key of the constructor: only `observe` makes observers. */
export const MADE = Symbol("observe");
/** Key of the method by which providers read from the node. */
export const READ = Symbol("read");
/** Key of the method by which providers learn that the observer has ended. */
export const ENDED = Symbol("ended");

const COUNTERS = {
  blocks: 0,
  accepted: 0,
  rejected: {},
  ignored: {},
  fetched: 0,
  bytesIn: 0,
  bytesOut: 0,
  memory: 0,
};

/** Freezes a report with everything in it. */
function freeze(value) {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}

const refuse = (message) => {
  throw new ObserverError("option", message);
};

/** Returns the number or the hash of a block as the node reads it. */
function whole(at) {
  if (typeof at === "bigint" && at >= 0n && at < 1n << 64n) return String(at);
  if (Number.isSafeInteger(at) && at >= 0) return String(at);
  if (typeof at === "string" && /^0x[0-9a-f]{64}$/i.test(at)) return at.toLowerCase();
  return refuse("getBlock() takes the number of a block, or its hash");
}

/** Returns the limits of an iterator from the options of `follow`. */
function limits(options) {
  if (typeof options !== "object" || options === null)
    refuse("follow() takes an object of options");
  const { name, maxBlocks, maxBytes, signal, ...rest } = options;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse(`follow() has no option \`${unknown}\``);
  if (name !== undefined && typeof name !== "string") refuse("`name` is not a string");
  if (
    maxBlocks !== undefined &&
    !(Number.isInteger(maxBlocks) && maxBlocks >= 1 && maxBlocks <= MOST_BLOCKS)
  ) {
    refuse(`\`maxBlocks\` is not a whole number from 1 to ${MOST_BLOCKS}`);
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes >= 1))
    refuse("`maxBytes` is not a number from 1 on");
  if (signal !== undefined && signal !== null && !isSignal(signal))
    refuse("`signal` is not an AbortSignal: give the `signal` of an AbortController");
  return {
    name,
    signal,
    maxBlocks: maxBlocks ?? DEFAULTS.maxBlocks,
    maxBytes: maxBytes ?? DEFAULTS.maxBytes,
    marks: true,
  };
}

export class Observer extends EventTarget {
  #node;
  #network;
  #peerId;
  #status = freeze({
    head: null,
    linked: null,
    highest: null,
    peers: [],
    troubles: [],
    counters: COUNTERS,
  });
  #queues = new Set();
  /** Functions to call at the end. */
  #ends = new Set();
  #stopping;
  #signal;
  #readSigner;
  #reads;
  /** Last ticket of a read. */
  #tickets = 0;
  #ready;
  #isReady;
  /** Counts readings of the signer: only the answer to the newest one counts. */
  #reading = 0;
  #abort = () => void this.stop();
  /** The network or the user is back: peers that wait for a redial need not wait. */
  #back = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.#node?.networkChanged();
  };

  constructor(made, node, signal, readSigner, reads) {
    super();
    if (made !== MADE) throw new TypeError("observers are made by observe()");
    this.#node = node;
    this.#signal = signal;
    this.#readSigner = readSigner;
    this.#reads = freeze(reads ?? null);
    this.#network = freeze({ ...node.about.network });
    this.#peerId = node.about.peerId;
    this.#ready = new Promise((resolve, reject) => (this.#isReady = { resolve, reject }));
    // A page that does not wait for it is not told of its failure.
    this.#ready.catch(() => {});
    signal?.addEventListener("abort", this.#abort, { once: true });
    globalThis.addEventListener?.("online", this.#back);
    globalThis.document?.addEventListener("visibilitychange", this.#back);
  }

  get network() {
    return this.#network;
  }

  get peerId() {
    return this.#peerId;
  }

  get reads() {
    return this.#reads;
  }

  get status() {
    return this.#status;
  }

  get head() {
    return this.#status.head;
  }

  get linked() {
    return this.#status.linked;
  }

  get highest() {
    return this.#status.highest;
  }

  get peers() {
    return this.#status.peers;
  }

  get troubles() {
    return this.#status.troubles;
  }

  get counters() {
    return this.#status.counters;
  }

  get ready() {
    return this.#ready;
  }

  get stopped() {
    return this.#stopping !== undefined;
  }

  get blocks() {
    return { [Symbol.asyncIterator]: () => this.#queue({ ...DEFAULTS, marks: false }) };
  }

  follow(options = {}) {
    const checked = limits(options);
    return { [Symbol.asyncIterator]: () => this.#queue(checked) };
  }

  #queue(limits) {
    const lost = (mark) => {
      const name =
        limits.name === undefined
          ? limits.marks
            ? "an iterator of `follow()`"
            : "an iterator of `blocks`"
          : `the iterator ${JSON.stringify(limits.name)}`;
      const from = mark.first === null ? "" : `, from block ${mark.first.number} on`;
      const error = new ObserverError(
        "lagging",
        `${name} is more than ${limits.maxBlocks} blocks or ${limits.maxBytes} bytes behind ` +
          `and misses the oldest${from}`,
      );
      this.#dispatch("error", Object.assign(error, { iterator: limits.name ?? null, lost: mark }));
    };
    const queue = new Queue(limits, { lost, left: (queue) => this.#queues.delete(queue) });
    if (this.stopped) queue.end();
    else if (!limits.signal?.aborted) this.#queues.add(queue);
    return queue;
  }

  on(type, listener) {
    if (!EVENTS.has(type)) refuse(`there is no event ${JSON.stringify(String(type))}`);
    if (typeof listener !== "function") refuse(`the listener of \`${type}\` is not a function`);
    const call = (event) => listener(event.detail);
    this.addEventListener(type, call);
    return () => this.removeEventListener(type, call);
  }

  stop() {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async decode(block) {
    if (!(block instanceof Block)) refuse("decode() takes a block of an observer");
    if (!this.#node) throw new ObserverError("stopped", "the observer has ended");
    return this.#node.decode(block.version, block.payload, block.parentBeaconBlockRoot);
  }

  async getBlock(at) {
    const wanted = whole(at);
    if (!this.#node) throw new ObserverError("stopped", "the observer has ended");
    const found = await this.#node.block(wanted);
    return found ? new Block(freeze(found.detail), found.payload) : null;
  }

  /**
   * Calls a JSON-RPC method of the node. Resolves to `{ result, block, verified }` or `{ error }`.
   * Rejects with the reason of `signal` if it is aborted.
   *
   * @param {string} params as JSON
   */
  async [READ](method, params, signal) {
    const node = this.#node;
    if (!node) throw new ObserverError("stopped", "the observer has ended");
    const ticket = (this.#tickets += 1);
    const answer = node.read(ticket, method, params);
    if (!signal) return answer;
    return new Promise((resolve, reject) => {
      const aborted = () => {
        node.cancelRead(ticket);
        reject(signal.reason);
      };
      signal.addEventListener("abort", aborted, { once: true });
      const settled = () => signal.removeEventListener("abort", aborted);
      answer.then(resolve, reject).then(settled, settled);
    });
  }

  /** Calls `act` once the observer has ended. Returns a function that prevents it. */
  [ENDED](act) {
    this.#ends.add(act);
    return () => this.#ends.delete(act);
  }

  async #stop() {
    // They find the observer stopped.
    queueMicrotask(() => this.#ends.forEach((act) => act()));
    this.#signal?.removeEventListener("abort", this.#abort);
    globalThis.removeEventListener?.("online", this.#back);
    globalThis.document?.removeEventListener("visibilitychange", this.#back);
    const node = this.#node;
    this.#node = undefined;
    for (const queue of this.#queues) queue.end();
    this.#queues.clear();
    this.#isReady.reject(new ObserverError("stopped", "the observer ended before its first block"));
    await node?.stop();
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.stop();
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #pass(item) {
    for (const queue of [...this.#queues]) queue.push(item);
  }

  /**
   * Takes new values for some fields of the status. A value that is equal to the old one leaves the
   * old object in place, so that a snapshot changes only if something has changed.
   */
  #update(values) {
    const changed = Object.entries(values).filter(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(this.#status[name]),
    );
    if (changed.length === 0) return false;
    this.#status = freeze({ ...this.#status, ...Object.fromEntries(changed) });
    if (this.#status.head) this.#isReady.resolve(this.#status.head);
    return true;
  }

  /** Has the page read the signer, and passes its answer on. */
  async #read() {
    const reading = ++this.#reading;
    try {
      const signer = (await this.#readSigner?.()) ?? null;
      if (signer !== null && !/^0x[0-9a-f]{40}$/i.test(signer))
        throw new Error("the answer is not an address");
      if (reading === this.#reading) this.#node?.signerRead(signer);
    } catch (error) {
      if (this.stopped || reading !== this.#reading) return;
      const message = `the signer can't be read (${words(error)}); it is read again`;
      this.#dispatch("error", new ObserverError("signer", message, { cause: error }));
    }
  }

  /** Takes a report of the node. */
  told(made, kind, detail, payload) {
    if (made !== MADE || this.stopped) return;
    freeze(detail);
    // Listeners find the state as the report makes it.
    const changed = this.#update(this.#changes(kind, detail));
    switch (kind) {
      case "status":
        break;
      case "about":
        this.#peerId = detail.peerId;
        break;
      case "block": {
        const block = new Block(detail, payload);
        this.#pass(Object.freeze({ kind, block }));
        this.#dispatch(kind, block);
        break;
      }
      case "reorg":
        this.#pass(Object.freeze({ kind, reorg: detail }));
        this.#dispatch(kind, detail);
        break;
      case "gap":
        if (detail.state === "skipped") this.#pass(Object.freeze({ kind: "skipped", gap: detail }));
        this.#dispatch(kind, detail);
        break;
      case "error":
        this.#dispatch(kind, new ObserverError(detail.code, detail.message));
        break;
      case "crashed":
        this.#dispatch(
          "error",
          new ObserverError("crashed", `the node ended by a defect of its own: ${detail}`),
        );
        void this.stop();
        break;
      case "signer":
        this.#network = freeze({ ...this.#network, signer: detail.signer, signerSource: "reader" });
        this.#dispatch(kind, detail);
        break;
      case "read-signer":
        void this.#read();
        break;
      default:
        this.#dispatch(kind, detail);
    }
    if (changed) this.#dispatch("status", this.#status);
  }

  /** Returns the fields of the status that a report changes. */
  #changes(kind, detail) {
    switch (kind) {
      case "status": {
        const { memory, ...status } = detail;
        return {
          ...status,
          counters: { ...status.counters, memory: memory ?? this.#status.counters.memory },
        };
      }
      case "block": {
        const { number, hash, timestamp, timestampMs, receivedAt } = detail;
        const linked = { number, hash };
        // The head is ahead of the blocks while a gap is being filled.
        const isBehind = this.#status.head !== null && this.#status.head.number >= number;
        return isBehind
          ? { linked }
          : { linked, head: { number, hash, timestamp, timestampMs, receivedAt } };
      }
      case "head":
        return { head: detail };
      case "trouble":
      case "trouble-ended": {
        const others = this.#status.troubles.filter((trouble) => trouble.kind !== detail.kind);
        return { troubles: kind === "trouble" ? [...others, detail] : others };
      }
      case "peer": {
        const { what: _, ...peer } = detail;
        return { peers: this.#status.peers.map((known) => (known.id === peer.id ? peer : known)) };
      }
      default:
        return {};
    }
  }
}
