// One node for all tabs of an origin where there are no shared workers. One tab leads: it runs the
// node with the hub in a worker of its own. The others reach it through channels, by the hub's
// protocol. This module is the transport of that protocol, and chooses the leader.
//
// The leader is the tab that holds a lock. All others queue for it. The leader releases the lock
// when it is frozen or stops. The browser releases it when the tab is closed or crashes. Some
// phones halt a tab without notice: a tab that gets no answer from its leader takes the lock from
// it.
//
// Frames of a leader, on the channel of all tabs or of one: `{ term, … }` with the number of its
// leadership. The highest counts.
//
// * `coming`: its worker loads.
// * `leads`: tabs may join. With `to` and `heard` it answers that tab's ping, which had this term.
// * `pong`: it answers the ping of a tab that has joined.
// * `message`: a message of the hub to the tab.
//
// Frames of a tab, on the channel of the leader: `{ from, term, … }` with `ping`, or with a
// `message` for the hub. The first message is `{ start: { lock, last } }`. A tab that stood still
// sends it again: the browser may have dropped reports, which the hub takes for unconfirmed. The
// hub then forgets what the tab did not confirm.
//
// Bounds: what seen.js keeps, and the questions that the page waits for. The hub bounds what is on
// the way to a tab.

import { words } from "./errors.js";
import { groupOf, held, keyOf, namesOf } from "./group.js";
import { CONFIRMED } from "./hub.js";
import { Seen } from "./seen.js";

/** Milliseconds between two looks at the leader. */
const PULSE_MS = 5000;
/** Looks without a sign of the leader until it is asked for one, and until it is taken for gone. */
const QUIET = 2;
const GONE = 5;
/** A tab that does nothing for more looks than these stood still. */
const STILL = 3;
/** Further looks while the worker of a leader loads. */
const COMING = 12;
/** Milliseconds for tabs to join a new leader before its node starts. */
const GATHER_MS = 300;

const browser = () => ({
  locks: globalThis.navigator.locks,
  Channel: globalThis.BroadcastChannel,
  // Bundlers recognise this expression, and no other.
  worker: () =>
    new Worker(new URL("./leader-worker.js", import.meta.url), { type: "module", name: "opp2p" }),
  document: globalThis.document,
  window: globalThis,
  now: () => Date.now(),
  every: (act, milliseconds) => setInterval(act, milliseconds),
  pulse: PULSE_MS,
  gather: GATHER_MS,
});

/** A tab's observer among those that share a node, with the interface of a worker of its own. */
export class Member extends EventTarget {
  #ways;
  #id = crypto.randomUUID();
  #seen = new Seen();
  /** The options, the group that has them, and its names. */
  #options;
  #group;
  #names;
  /** The lock that says that this tab lives. */
  #life;
  /** The channels to and from the leader. */
  #channels = {};
  /** Number of the newest leadership that this tab has heard of. */
  #term = 0;
  #isJoined = false;
  /** Whether a node has started for this tab. */
  #isStarted = false;
  /** Reports that were not confirmed yet. */
  #taken = 0;
  /** Questions that were not answered yet, by their id. */
  #asks = new Map();
  /** Looks since the last sign of the leader. */
  #quiet = 0;
  /** Time at which this tab last did something. */
  #ran;
  #timer;
  #resting;
  #isFrozen = false;
  /** Whether it has stopped: it takes part no longer, but still waits for its node. */
  #isLeaving = false;
  /** The request for the leader's lock, as an AbortController. */
  #standing = null;
  /** This tab's own leadership: `{ term, worker, end, ended }`. */
  #leading = null;
  /** Messages go out in their order, also while the group is being joined. */
  #sent = Promise.resolve();
  #frozen = ({ type, persisted }) => (type === "freeze" || persisted) && this.#freeze();
  #thawed = ({ type, persisted }) => (type === "resume" || persisted) && this.#thaw();

  constructor(ways = browser()) {
    super();
    this.#ways = ways;
  }

  postMessage(message) {
    const failed = (error) => this.#pass("error", { message: words(error) });
    this.#sent = this.#sent.then(() => this.#send(message)).catch(failed);
  }

  terminate() {
    this.#isLeaving = true;
    void this.#sent.then(() => this.#end());
  }

  #pass(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  #report(kind, detail, payload) {
    this.#pass("message", { data: { kind, detail, payload } });
  }

  async #send(message) {
    if (message.start) return this.#open(message.start);
    if (message.stop) return this.#stop();
    if (message.ask) this.#asks.set(message.ask.id, message);
    if (this.#isJoined) this.#tell(message);
    if (message.cancelRead === undefined) return;
    // The next node is not asked.
    const isIt = ({ ask: { what, given } }) => what === "read" && given[0] === message.cancelRead;
    const { ask } = [...this.#asks.values()].find(isIt) ?? {};
    if (!ask || !this.#asks.delete(ask.id)) return;
    const failed = { code: "stopped", message: "the question was withdrawn" };
    this.#pass("message", { data: { answered: { id: ask.id, failed } } });
  }

  async #open(options) {
    const { locks, Channel, document, window, now, every, pulse } = this.#ways;
    this.#ran = now();
    this.#options = options;
    this.#group = await groupOf(keyOf(options));
    this.#names = namesOf(this.#group);
    this.#life = await held(locks);
    const { all, desk, tab } = this.#names;
    for (const [what, name] of Object.entries({ all, desk, own: tab(this.#id) })) {
      const channel = new Channel(name);
      channel.onmessageerror = () => this.#pass("messageerror", {});
      this.#channels[what] = channel;
    }
    for (const channel of [this.#channels.all, this.#channels.own]) {
      channel.onmessage = ({ data }) => {
        this.#runs();
        this.#hear(data);
      };
    }
    document?.addEventListener("freeze", this.#frozen);
    document?.addEventListener("resume", this.#thawed);
    window?.addEventListener?.("pagehide", this.#frozen);
    window?.addEventListener?.("pageshow", this.#thawed);
    this.#timer = every(() => this.#look(), pulse);
    this.#ping();
    this.#stand();
  }

  #tell(message) {
    this.#channels.desk.postMessage({ from: this.#id, term: this.#term, message });
  }

  #ping() {
    this.#channels.desk.postMessage({ from: this.#id, term: this.#term, ping: true });
  }

  /** Takes a frame of a leader. */
  #hear({ term, coming, leads, to, heard, message }) {
    if (term < this.#term) return;
    if (term > this.#term) {
      this.#term = term;
      this.#isJoined = false;
      // It was silent for so long that another tab has taken its place.
      if (this.#leading && this.#leading.term < term) this.#stepDown();
    }
    this.#quiet = coming ? -COMING : 0;
    const isForgotten = to === this.#id && heard === term;
    if (leads && (!this.#isJoined || isForgotten)) this.#join();
    else if (message && this.#isJoined) this.#took(message);
  }

  /** Joins the leader. `isSame` says that the tab has joined it before. */
  #join(isSame = false) {
    if (this.#isLeaving) return;
    this.#isJoined = true;
    this.#taken = 0;
    for (const report of this.#seen.moved(isSame)) this.#report(...report);
    this.#tell({ start: { lock: this.#life.name, last: this.#seen.last } });
    for (const ask of this.#asks.values()) this.#tell(ask);
  }

  /** Takes a message of the hub. */
  #took(message) {
    const { kind, detail, payload, started, failed, answered } = message;
    if (kind && (this.#taken += 1) >= CONFIRMED) {
      this.#tell({ confirmed: this.#taken });
      this.#taken = 0;
    }
    if (failed && this.#isStarted) {
      // The next leader's node may start.
      this.#isJoined = false;
      if (this.#leading) this.#fail(this.#leading, failed.message);
      return;
    }
    if (started) this.#isStarted = true;
    if (answered) this.#asks.delete(answered.id);
    if (kind === "crashed") this.#crashed();
    if (!kind) return this.#pass("message", { data: message });
    for (const report of this.#seen.take(kind, detail, payload)) this.#report(...report);
  }

  /**
   * The node has ended by a defect, and the hub has no clients any more. The observer ends, too.
   */
  #crashed() {
    this.#isJoined = false;
    this.#isLeaving = true;
    this.#unstand();
  }

  /** Records that this tab runs. If it stood still, it joins its leader again. */
  #runs() {
    const { now, pulse } = this.#ways;
    const before = this.#ran;
    this.#ran = now();
    if (this.#ran - before > STILL * pulse) this.#rejoin();
  }

  #rejoin() {
    if (this.#isJoined) this.#join(true);
  }

  /** Checks whether the leader is still there. */
  #look() {
    this.#runs();
    this.#stand();
    this.#quiet += 1;
    const isLoading = this.#leading && this.#term < this.#leading.term;
    if (isLoading) this.#channels.all.postMessage({ term: this.#leading.term, coming: true });
    if (this.#quiet >= QUIET) this.#ping();
    if (this.#quiet < GONE) return;
    this.#quiet = 0;
    if (this.#leading) this.#fail(this.#leading, "the worker of the node gives no sign of life");
    else this.#take();
  }

  /** Queues for the leader's lock, or takes it from a silent leader. */
  #stand(isTaken = false) {
    const isOut = this.#isLeaving || this.#isFrozen || this.#resting;
    if (isOut || this.#standing || this.#leading) return;
    const standing = new AbortController();
    const { signal } = standing;
    this.#standing = standing;
    let leading;
    const elected = async () => {
      if (this.#standing !== standing) return;
      this.#standing = null;
      if (this.#isLeaving || this.#isFrozen) return;
      leading = this.#lead();
      await leading.ended;
    };
    const failed = (error) => {
      if (this.#standing === standing) this.#standing = null;
      if (signal.aborted) return;
      if (error?.name !== "AbortError" && !this.#isStarted)
        return this.#pass("error", { message: words(error) });
      // Another tab has taken the lock. A later look queues for it again.
      if (leading && this.#leading === leading) this.#stepDown();
    };
    const how = isTaken ? { steal: true } : { signal };
    this.#ways.locks.request(this.#names.leader, how, elected).catch(failed);
  }

  /** Takes the lock of a silent leader. Only one tab at a time does this. */
  #take() {
    if (this.#isLeaving || this.#isFrozen || this.#resting) return;
    const { locks, pulse } = this.#ways;
    const alone = async (lock) => {
      if (!lock) return;
      this.#unstand();
      this.#stand(true);
      // The others hear of it meanwhile.
      await new Promise((resolve) => setTimeout(resolve, pulse));
    };
    locks.request(this.#names.taking, { ifAvailable: true }, alone).catch(() => {});
  }

  #unstand() {
    this.#standing?.abort();
    this.#standing = null;
  }

  /** Starts to lead: has a worker run the node. */
  #lead() {
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    // Clocks can go back.
    const term = Math.max(Date.now(), this.#term + 1);
    const leading = { term, end, ended, worker: null, stopped: null };
    this.#leading = leading;
    this.#quiet = -COMING;
    const gather = this.#term === 0 ? 0 : this.#ways.gather;
    const { recent, signer } = this.#seen;
    const lead = { group: this.#group, term, gather, recent, signer, options: this.#options };
    try {
      const worker = this.#ways.worker();
      leading.worker = worker;
      worker.addEventListener("error", (event) => {
        // One that runs tells of a crash by the hub, or falls silent.
        if (this.#term === term) return;
        event.preventDefault?.();
        this.#fail(leading, event.message ?? "");
      });
      worker.addEventListener("message", ({ data }) => data.ended && leading.stopped?.());
      worker.postMessage({ lead });
      this.#channels.all.postMessage({ term, coming: true });
    } catch (error) {
      this.#fail(leading, words(error));
    }
    return leading;
  }

  #stepDown() {
    const leading = this.#leading;
    if (!leading) return;
    this.#leading = null;
    this.#isJoined = false;
    leading.worker?.terminate();
    leading.end();
  }

  /** The worker of this tab's leadership can't go on. Another tab may lead, or this one later. */
  #fail(leading, message) {
    if (this.#leading !== leading) return;
    if (!this.#isStarted) return this.#pass("error", { message });
    this.#stepDown();
    const rested = () => {
      this.#resting = undefined;
      this.#stand();
    };
    this.#resting = setTimeout(rested, this.#ways.pulse);
    const why = message || "its worker ended";
    const text = `the node can't run in this tab (${why}); it is tried again`;
    this.#report("error", { code: "worker", message: text });
  }

  /** The browser is about to freeze this tab, or to put it aside. */
  #freeze() {
    this.#isFrozen = true;
    this.#unstand();
    this.#stepDown();
  }

  #thaw() {
    if (this.#isFrozen) this.#rejoin();
    this.#isFrozen = false;
    this.#ran = this.#ways.now();
    this.#quiet = 0;
    this.#ping();
    this.#stand();
  }

  /** Leaves the node, which stops if this tab leads: it starts again in the next one. */
  #stop() {
    this.#isLeaving = true;
    this.#unstand();
    const stopped = () => this.#pass("message", { data: { stopped: true } });
    if (this.#leading) {
      this.#leading.stopped = stopped;
      this.#leading.worker?.postMessage({ end: true });
    } else if (this.#isJoined) {
      this.#tell({ stop: true });
    } else {
      stopped();
    }
  }

  #end() {
    clearInterval(this.#timer);
    clearTimeout(this.#resting);
    const { document, window } = this.#ways;
    document?.removeEventListener("freeze", this.#frozen);
    document?.removeEventListener("resume", this.#thawed);
    window?.removeEventListener?.("pagehide", this.#frozen);
    window?.removeEventListener?.("pageshow", this.#thawed);
    this.#unstand();
    this.#stepDown();
    this.#life?.release();
    for (const channel of Object.values(this.#channels)) channel.close();
  }
}
