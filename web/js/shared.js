// The option `worker` for one node that all tabs of an origin share; see shared.d.ts.

import { CONFIRMED } from "./hub.js";

/** Holds a lock as long as this tab lives, or until `release()`. `null` where there are none. */
async function held() {
  const locks = globalThis.navigator?.locks;
  if (!locks) return null;
  const name = `opp2p-tab-${crypto.randomUUID()}`;
  let release;
  await new Promise((resolve, reject) => {
    const hold = () => {
      resolve();
      return new Promise((done) => (release = done));
    };
    locks.request(name, hold).catch(reject);
  });
  return { name, release: () => release() };
}

/** A shared worker with the interface of a worker of one observer. */
class Shared extends EventTarget {
  #port;
  #lock;
  /** Reports that were not confirmed yet. */
  #taken = 0;
  /** Messages go out in their order, also while the lock is being taken. */
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

  postMessage(message) {
    this.#sent = this.#sent.then(() => this.#send(message));
  }

  async #send(message) {
    if (!message.start) return this.#port.postMessage(message);
    this.#lock = await held();
    // Observers with the same options share a node.
    const { node, identity, keep } = message.start;
    const key = JSON.stringify({ node, identity, keep });
    this.#port.postMessage({ start: { ...message.start, key, lock: this.#lock?.name } });
  }

  terminate() {
    void this.#sent.then(() => {
      this.#lock?.release();
      this.#port.close();
    });
  }
}

export function shared() {
  if (typeof globalThis.SharedWorker === "function") {
    // Bundlers recognise this expression, and no other.
    const worker = new SharedWorker(new URL("./shared-worker.js", import.meta.url), {
      type: "module",
      name: "opp2p",
    });
    return new Shared(worker);
  }
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "opp2p" });
}
