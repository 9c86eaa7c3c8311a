// The value of the option `worker` for a node that all tabs of an origin share; see shared.d.ts.

import { words } from "./errors.js";
import { held, keyOf } from "./group.js";
import { CONFIRMED } from "./hub.js";
import { Member } from "./leader.js";
import { isModule } from "./module.js";

/** Milliseconds between two looks at the worker. */
const PULSE_MS = 5000;
/**
 * Looks without a sign of the worker until it counts as dead. A frozen tab does not look, so its
 * own pause does not count.
 */
const QUIET = 5;

/** Gives a shared worker the interface of a dedicated worker. */
class Shared extends EventTarget {
  #port;
  #lock;
  /** Number of unconfirmed reports. */
  #taken = 0;
  /** Looks since the last sign of the worker. */
  #quiet = 0;
  #timer;
  /** Settles after the last message, so that all keep their order while the lock is awaited. */
  #sent = Promise.resolve();

  constructor(worker) {
    super();
    this.#port = worker.port;
    worker.addEventListener("error", (event) => {
      event.preventDefault?.();
      this.#pass("error", { message: event.message ?? "" });
    });
    this.#port.addEventListener("messageerror", () => this.#pass("messageerror", {}));
    this.#port.addEventListener("message", ({ data }) => {
      this.#quiet = 0;
      if (data.pong) return;
      // The page itself limits the time of the start.
      if (data.started) this.#timer ??= setInterval(() => this.#look(), PULSE_MS);
      if (data.kind && (this.#taken += 1) >= CONFIRMED) {
        this.#port.postMessage({ confirmed: this.#taken });
        this.#taken = 0;
      }
      this.#pass("message", { data });
    });
    this.#port.start();
  }

  #pass(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  /** Looks whether the worker still lives: browsers don't tell of its end. */
  #look() {
    this.#quiet += 1;
    if (this.#quiet <= QUIET) return this.#port.postMessage({ ping: true });
    clearInterval(this.#timer);
    this.#pass("error", { message: "the shared worker gives no sign of life" });
  }

  postMessage(message) {
    const failed = (error) => this.#pass("error", { message: words(error) });
    this.#sent = this.#sent.then(() => this.#send(message)).catch(failed);
  }

  async #send(message) {
    if (!message.start) return this.#port.postMessage(message);
    if (isModule(message.start.wasm)) {
      // A module can't leave the process of the page.
      const text = "a shared worker can't take a compiled module: give `wasm` as a URL or bytes";
      return this.#pass("message", { data: { failed: { code: "option", message: text } } });
    }
    this.#lock = await held();
    const key = keyOf(message.start);
    this.#port.postMessage({ start: { ...message.start, key, lock: this.#lock.name } });
  }

  terminate() {
    clearInterval(this.#timer);
    void this.#sent.then(() => {
      this.#lock?.release();
      this.#port.close();
    });
  }
}

export function shared() {
  // Only locks show that a tab has ended.
  const hasLocks = Boolean(globalThis.navigator?.locks);
  if (hasLocks && typeof globalThis.SharedWorker === "function") {
    // Bundlers recognise only this form of the expression.
    const worker = new SharedWorker(new URL("./shared-worker.js", import.meta.url), {
      type: "module",
      name: "opp2p",
    });
    return new Shared(worker);
  }
  if (hasLocks && typeof globalThis.BroadcastChannel === "function") return new Member();
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "opp2p" });
}
