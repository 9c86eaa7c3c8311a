// One node for several observers: those of all tabs that ask for the same node. It takes the
// messages of worker.js from each, and sends each the same reports.
//
// Bounds: MOST clients. A client has BEHIND reports on the way to it, which it confirms; a client that
// is behind, such as a frozen tab, gets no more until it has caught up, and then learns the state and
// which blocks it missed.

import { asObserverError } from "./errors.js";

/** Maximum number of clients. */
const MOST = 256;
/** Maximum number of reports on the way to a client. */
const BEHIND = 512;
/** Number of reports after which a client confirms them. */
export const CONFIRMED = 32;

const failure = (error) => {
  const { code, message } = asObserverError(error, "worker");
  return { code, message };
};

/** A client: an observer of a tab. */
class Client {
  post;
  /** Whether it learned that the node runs. */
  isStarted = false;
  /** Reports on the way. */
  behind = 0;
  /** Whether it has missed reports. */
  isLate = false;
  /** The last block that it got, and the one before the next, as `{ number, hash }`. */
  last = null;
  /** Questions to the node, by the client's number of them. */
  tickets = new Map();

  constructor(post) {
    this.post = post;
  }
}

const idOf = ({ number, hash }) => ({ number, hash });

export class Hub {
  #start;
  #ended;
  #clients = new Set();
  /** The node, or its start under way. */
  #node;
  /** The last report of the state, for those who come later. */
  #status = null;
  /** Counts questions: numbers of several clients may be the same. */
  #tickets = 0;
  /** Counts the questions for the signer, which one client after the other is asked. */
  #signers = 0;

  /**
   * @param start `(options, tell)` starts the node, as engine.js does
   * @param ended is called when the last client has left and the node has stopped
   */
  constructor(start, ended) {
    this.#start = start;
    this.#ended = ended;
  }

  /**
   * Adds a client, to which `post(message, transfer)` sends.
   *
   * @param options of the node; only the first client's count
   */
  async join(post, options) {
    const client = new Client(post);
    if (this.#clients.size >= MOST) {
      post({ failed: { code: "option", message: `${MOST} observers share the node already` } });
      return client;
    }
    this.#clients.add(client);
    try {
      this.#node ??= this.#start(options, (...report) => this.#tell(...report));
      const { about } = await this.#node;
      if (!this.#clients.has(client)) return client;
      client.isStarted = true;
      post({ started: about });
      if (this.#status) this.#report(client, { kind: "status", detail: this.#status });
    } catch (error) {
      this.#clients.delete(client);
      // The next one may try again.
      if (this.#clients.size === 0) this.#node = undefined;
      post({ failed: failure(error) });
    }
    return client;
  }

  /** Takes a message of a client, other than its start. */
  async heard(client, { networkChanged, signerRead, ask, cancelRead, confirmed, stop }) {
    if (!this.#clients.has(client)) return stop && client.post({ stopped: true });
    if (confirmed) return this.#confirmed(client, confirmed);
    if (stop) {
      await this.leave(client);
      return client.post({ stopped: true });
    }
    if (ask) return this.#answer(client, ask);
    const node = await this.#node;
    if (networkChanged) node?.networkChanged();
    else if (signerRead) node?.signerRead(signerRead.signer);
    else if (client.tickets.has(cancelRead)) node?.cancelRead(client.tickets.get(cancelRead));
  }

  /** Removes a client. The node stops with the last one. */
  async leave(client) {
    if (!this.#clients.delete(client)) return;
    const node = await this.#node?.catch(() => {});
    for (const ticket of client.tickets.values()) node?.cancelRead(ticket);
    client.tickets.clear();
    if (this.#clients.size > 0 || !this.#node) return;
    this.#node = undefined;
    this.#status = null;
    await node?.stop();
    if (this.#clients.size === 0) this.#ended();
  }

  async #answer(client, { id, what, given }) {
    let own;
    try {
      const node = await this.#node;
      if (what === "read") {
        [own] = given;
        client.tickets.set(own, (this.#tickets += 1));
        given = [this.#tickets, ...given.slice(1)];
      }
      const value = await node[what](...given);
      client.post({ answered: { id, value } });
    } catch (error) {
      client.post({ answered: { id, failed: failure(error) } });
    } finally {
      client.tickets.delete(own);
    }
  }

  #tell(kind, detail, payload) {
    if (kind === "status") this.#status = detail;
    const message = { kind, detail, payload };
    const started = [...this.#clients].filter((client) => client.isStarted);
    if (kind === "read-signer") {
      // One is enough.
      started[(this.#signers += 1) % started.length]?.post(message);
      return;
    }
    for (const client of started) this.#report(client, message);
    if (kind === "crashed") {
      this.#clients.clear();
      this.#node = undefined;
      this.#ended();
    }
  }

  #report(client, message) {
    const { kind, detail } = message;
    if (client.behind >= BEHIND && kind !== "crashed") {
      client.isLate = true;
      return;
    }
    if (kind === "block") {
      if (client.isLate) this.#skip(client, detail);
      client.last = idOf(detail);
    }
    client.behind += 1;
    client.post(message);
  }

  /** Tells which blocks a client missed before this one. */
  #skip(client, { number, hash }) {
    client.isLate = false;
    const after = client.last;
    if (!after || number <= after.number + 1) return;
    const missing = number - after.number - 1;
    const reason = "this tab did not take its reports";
    const gap = { id: null, state: "skipped", after, before: { number, hash }, missing, reason };
    client.behind += 1;
    client.post({ kind: "gap", detail: gap });
  }

  #confirmed(client, count) {
    const wasFull = client.behind >= BEHIND;
    client.behind = Math.max(0, client.behind - count);
    if (wasFull && client.isLate && this.#status)
      this.#report(client, { kind: "status", detail: this.#status });
  }
}
