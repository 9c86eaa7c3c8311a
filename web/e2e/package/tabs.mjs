// Tabs of one origin for tests of leader.js in Node.js: channels, locks and workers of the test,
// and a chain whose node continues where it is told to. Messages take a turn of the event loop
// each.

import { Desk } from "../../js/desk.js";
import { Member } from "../../js/leader.js";
import { ABOUT, block, until } from "./mock.mjs";

const later = (act) => setTimeout(act, 0);

/** Web Locks: exclusive ones, with queues, `ifAvailable`, `steal` and `signal`. */
class Locks {
  #queues = new Map();
  #held = new Map();

  /** The locks as a tab sees them. `free()` is what the browser does when the tab is gone. */
  of() {
    const own = new Set();
    const request = (name, ...rest) => {
      const [options, act] = rest.length === 1 ? [{}, rest[0]] : rest;
      return new Promise((resolve, reject) => {
        const entry = { name, act, resolve, reject };
        own.add(entry);
        const aborted = () => {
          this.#leave(entry);
          reject(new DOMException("aborted", "AbortError"));
        };
        options.signal?.addEventListener("abort", () => {
          if (this.#held.get(name) !== entry) aborted();
        });
        if (options.ifAvailable && this.#held.has(name)) return resolve(act(null));
        if (options.steal) {
          const holder = this.#held.get(name);
          this.#held.delete(name);
          holder?.reject(new DOMException("stolen", "AbortError"));
          return this.#grant(entry);
        }
        this.#queue(name).push(entry);
        later(() => this.#next(name));
      });
    };
    const free = () => {
      for (const entry of own) this.#leave(entry);
    };
    return { request, free };
  }

  #queue(name) {
    if (!this.#queues.has(name)) this.#queues.set(name, []);
    return this.#queues.get(name);
  }

  #next(name) {
    if (this.#held.has(name)) return;
    const entry = this.#queue(name).shift();
    if (entry) this.#grant(entry);
  }

  #grant(entry) {
    this.#held.set(entry.name, entry);
    const settle = (end) => (value) => {
      this.#leave(entry);
      end(value);
    };
    const acting = Promise.resolve(entry.act({ name: entry.name }));
    acting.then(settle(entry.resolve), settle(entry.reject));
  }

  #leave(entry) {
    const queue = this.#queue(entry.name);
    if (queue.includes(entry)) queue.splice(queue.indexOf(entry), 1);
    if (this.#held.get(entry.name) === entry) this.#held.delete(entry.name);
    later(() => this.#next(entry.name));
  }
}

/** An origin with a chain and the tabs on it. */
export class Origin {
  locks = new Locks();
  #channels = new Map();
  #arrived = 0;
  /** Nodes that run, and the number of starts. */
  nodes = new Set();
  starts = [];
  /** The chain's blocks, the newest last. */
  chain = [block(100)];
  /** What a node answers. An answer that is never given is `undefined`. */
  answers = async (what, given) => ({ what, given });
  /** Whether the next workers fail. */
  fails = false;

  /** The class of channels for a tab, which `off()` cuts off. `holds` keeps what arrives. */
  channels() {
    const all = this.#channels;
    const open = new Set();
    const state = { isOff: false, holds: null };
    class Channel {
      constructor(name) {
        this.name = name;
        if (!all.has(name)) all.set(name, new Set());
        all.get(name).add(this);
        open.add(this);
      }

      postMessage(message) {
        if (!open.has(this)) throw new DOMException("closed", "InvalidStateError");
        if (state.isOff) return;
        for (const other of all.get(this.name)) {
          if (other === this) continue;
          const data = structuredClone(message);
          later(() => other.arrives(data));
        }
      }

      arrives(data) {
        if (!open.has(this) || state.isOff) return;
        if (state.holds) state.holds.push(() => this.onmessage?.({ data }));
        else this.onmessage?.({ data });
      }

      close() {
        open.delete(this);
        all.get(this.name).delete(this);
      }
    }
    return { Channel, state, off: () => (state.isOff = true) };
  }

  /** A node that goes on from the block of `resume`, or from the newest one. */
  async node(resume, tell) {
    this.starts.push(resume.from);
    const from = this.chain.findIndex(({ number }) => resume.from === number);
    let told = from < 0 ? this.chain.length : from + 1;
    const node = {
      about: { ...ABOUT, peerId: `node ${this.starts.length}` },
      follow: () => {
        while (told < this.chain.length) tell("block", this.chain[told++], new Uint8Array(3));
      },
      networkChanged: () => {},
      signerRead: () => {},
      block: (...given) => this.answers("block", given),
      read: (...given) => this.answers("read", given),
      cancelRead: () => {},
      stop: async () => this.nodes.delete(node),
      tell,
    };
    this.nodes.add(node);
    later(node.follow);
    return node;
  }

  /** Adds a block that every node sees. */
  grow(found = block(this.chain.at(-1).number + 1)) {
    const signed = { signature: `0x${"01".repeat(65)}`, parentBeaconBlockRoot: null };
    // The time of arrival tells the blocks apart.
    this.chain.push({ ...found, ...signed, receivedAt: (this.#arrived += 1) });
    for (const node of this.nodes) node.follow();
  }

  tab() {
    return new OneTab(this);
  }

  /** Adds tabs one after the other, each with a started observer. */
  async tabs(count) {
    const tabs = [];
    for (let index = 0; index < count; index++) {
      tabs.push(this.tab());
      await until(() => tabs[index].started.length > 0);
    }
    return tabs;
  }
}

/** A worker of the test: runs the leader's side. */
class LeaderWorker extends EventTarget {
  constructor(tab) {
    super();
    this.tab = tab;
    this.channels = tab.origin.channels();
    this.locks = tab.origin.locks.of();
  }

  postMessage({ lead, end }) {
    const { origin } = this.tab;
    const error = Object.assign(new Event("error"), { message: "no" });
    if (origin.fails) return later(() => this.dispatchEvent(error));
    if (end) return later(() => this.desk.end().then(() => this.says({ ended: true })));
    const { options: _, ...given } = structuredClone(lead);
    const start = async (resume, tell) => {
      const from = given.recent.find(({ detail }) => detail.receivedAt === resume.headAt);
      this.node = await origin.node({ ...resume, from: from?.detail.number }, tell);
      return this.node;
    };
    const ways = { locks: this.locks, Channel: this.channels.Channel };
    later(() => (this.desk = new Desk(given, start, ways)));
  }

  says(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  terminate() {
    this.channels.off();
    this.locks.free();
    this.tab.origin.nodes.delete(this.node);
    this.tab.worker = null;
  }
}

/** A tab with one observer and all that it got. */
class OneTab {
  worker = null;
  got = [];
  errors = [];
  document = new EventTarget();
  /** The tab's clock, and whether the tab stands still. */
  time = 0;
  isStill = false;

  constructor(origin) {
    this.origin = origin;
    this.channels = origin.channels();
    this.locks = origin.locks.of();
    this.member = new Member({
      locks: this.locks,
      Channel: this.channels.Channel,
      worker: () => (this.worker = new LeaderWorker(this)),
      document: this.document,
      now: () => this.time,
      every: (act, milliseconds) => setInterval(() => this.isStill || act(), milliseconds),
      pulse: 40,
      gather: 20,
    });
    this.member.addEventListener("message", ({ data }) => this.got.push(data));
    this.member.addEventListener("error", ({ message }) => this.errors.push(message));
    this.says({ start: { node: { network: "x" }, identity: "fresh", keep: false } });
  }

  says(message) {
    this.member.postMessage(message);
  }

  get started() {
    return this.got.flatMap(({ started }) => (started ? [started] : []));
  }

  get blocks() {
    return this.got.flatMap(({ kind, detail }) => (kind === "block" ? [detail] : []));
  }

  details(kind) {
    return this.got.filter((message) => message.kind === kind).map(({ detail }) => detail);
  }

  answer(id) {
    return this.got.find(({ answered }) => answered?.id === id)?.answered;
  }

  /** The tab is gone without a word. */
  crash() {
    this.channels.off();
    this.worker?.terminate();
    this.locks.free();
    this.member.terminate();
  }

  /** The browser freezes the tab, or lets it go on. */
  freeze() {
    this.document.dispatchEvent(new Event("freeze"));
    this.channels.state.holds = [];
  }

  thaw() {
    this.document.dispatchEvent(new Event("resume"));
    this.#open(this.channels.state);
  }

  /** The browser halts the tab alone and drops what it is sent, or lets it go on an hour later. */
  stand() {
    this.isStill = true;
    this.channels.state.holds = [];
  }

  goOn() {
    this.isStill = false;
    this.channels.state.holds = null;
    this.time += 3_600_000;
  }

  /** The phone halts the leader's tab with its worker, without a word, or lets them go on. */
  halt() {
    this.channels.state.holds = [];
    this.worker.channels.state.holds = [];
    this.halted = this.worker;
  }

  unhalt() {
    this.#open(this.halted.channels.state);
    this.#open(this.channels.state);
  }

  #open(state) {
    const held = state.holds ?? [];
    state.holds = null;
    held.forEach((arrives) => arrives());
  }
}
