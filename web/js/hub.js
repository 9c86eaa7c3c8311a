// Shares one node between several observers: those of all tabs with the same options. Each client
// sends the messages of worker.js, and all clients get the same reports.
//
// Bounds: MOST clients; BEHIND unconfirmed reports and TOLD ids of blocks per client. A client with
// more unconfirmed reports, such as a frozen tab, gets no reports until it has confirmed some. It
// then gets the status, and with the next block the reorg and the range of the blocks that it
// missed.

import { asObserverError } from "./errors.js";

/** Maximum number of clients. */
const MOST = 256;
/** Maximum number of unconfirmed reports of a client. */
const BEHIND = 512;
/** Number of ids of blocks of a client: its last ones, which a missed reorg may abandon. */
const TOLD = 256;
/** Number of reports that a client confirms at once. */
export const CONFIRMED = 32;

const failure = (error) => {
  const { code, message } = asObserverError(error, "worker");
  return { code, message };
};

/** A client: one tab's observer. */
class Client {
  post;
  /** Whether it was told that the node runs. */
  isStarted = false;
  /** Number of unconfirmed reports. */
  behind = 0;
  /** Whether it has missed reports. */
  isLate = false;
  /** The last blocks that it got, as `{ number, hash }`, ascending. */
  told = [];
  /** The lowest ancestor of the reorgs that it has missed. */
  ancestor = null;
  /** Whether it has missed that none of its blocks is canonical any longer. */
  isDetached = false;
  /** The node's tickets of pending reads, by the client's ticket. */
  tickets = new Map();

  constructor(post) {
    this.post = post;
  }

  /** Records a block that it gets. */
  took(id) {
    this.told.push(id);
    if (this.told.length > 2 * TOLD) this.told = this.told.slice(-TOLD);
  }

  /** Removes the blocks above `ancestor`, and returns them. */
  rewind(ancestor) {
    const first = this.told.findIndex(({ number }) => number > ancestor.number);
    return first < 0 ? [] : this.told.splice(first);
  }

  /** Records a reorg that it does not get. */
  missed({ ancestor }) {
    if (!this.ancestor || ancestor.number < this.ancestor.number) this.ancestor = ancestor;
  }
}

const idOf = ({ number, hash }) => ({ number, hash });

export class Hub {
  #start;
  #ended;
  #clients = new Set();
  /** Promise of the node, or `undefined` while none runs or starts. */
  #node;
  /** The last reports of the status and of the signer, for later clients. */
  #status = null;
  #signer = null;
  /** The last ticket for the node. The clients' own tickets are not unique. */
  #tickets = 0;
  /** Number of requests for the signer, which go to the clients in turn. */
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
   * Adds a client, whose messages go to `post(message)`.
   *
   * @param options of the node; ignored if the node already runs
   * @param before the client in whose place it comes: the hub forgets that one
   */
  async join(post, options, before) {
    const client = new Client(post);
    if (this.#clients.delete(before)) {
      before.post = () => {};
      void this.#withdraw(before);
    }
    if (this.#clients.size >= MOST) {
      post({ failed: { code: "option", message: `${MOST} observers already share the node` } });
      return client;
    }
    this.#clients.add(client);
    try {
      this.#node ??= this.#start(options, (...report) => this.#tell(...report));
      const { about } = await this.#node;
      if (!this.#clients.has(client)) return client;
      client.isStarted = true;
      post({ started: about });
      // `about` has the signer of the node's start.
      if (this.#signer) this.#report(client, { kind: "signer", detail: this.#signer });
      if (this.#status) this.#report(client, { kind: "status", detail: this.#status });
    } catch (error) {
      this.#clients.delete(client);
      // The next client tries again.
      if (this.#clients.size === 0) this.#forget();
      client.post({ failed: failure(error) });
    }
    return client;
  }

  /** Handles a message of a client, except its start. */
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
    const node = await this.#withdraw(client);
    if (this.#clients.size > 0 || !this.#node) return;
    this.#forget();
    await node?.stop();
    if (this.#clients.size === 0) this.#ended();
  }

  /** Withdraws the questions of a client that has left. Resolves to the node. */
  async #withdraw(client) {
    const node = await this.#node?.catch(() => {});
    for (const ticket of client.tickets.values()) node?.cancelRead(ticket);
    client.tickets.clear();
    return node;
  }

  /** Returns whether this is one of the clients. */
  has(client) {
    return this.#clients.has(client);
  }

  /** Stops the node and tells no client: another hub goes on with them. */
  async end() {
    const node = await this.#node?.catch(() => {});
    this.#clients.clear();
    this.#forget();
    await node?.stop();
  }

  /** Forgets the node: the next client starts another. */
  #forget() {
    this.#node = undefined;
    this.#status = null;
    this.#signer = null;
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
    if (kind === "signer") this.#signer = detail;
    const message = { kind, detail, payload };
    const started = [...this.#clients].filter((client) => client.isStarted);
    if (kind === "read-signer") {
      // One client suffices.
      started[(this.#signers += 1) % started.length]?.post(message);
      return;
    }
    for (const client of started) this.#report(client, message);
    if (kind === "crashed") {
      this.#clients.clear();
      this.#forget();
      this.#ended();
    }
  }

  #report(client, message) {
    const { kind, detail } = message;
    const isFull = client.behind >= BEHIND && kind !== "crashed";
    client.isLate ||= isFull;
    if (kind === "reorg") {
      // It comes with the next block, so that the client's blocks stay linked.
      if (client.isLate) return client.missed(detail);
      client.rewind(detail.ancestor);
    }
    const isSkip = kind === "gap" && detail.state === "skipped";
    if (isFull) {
      client.isDetached ||= isSkip && detail.detached === true;
      return;
    }
    if (isSkip) {
      const { after, before, detached } = detail;
      client.rewind({ number: detached ? -1 : Math.min(after.number, before.number - 1) });
    }
    if (kind === "block") {
      if (client.isLate) this.#catchUp(client, detail);
      client.took(idOf(detail));
    }
    client.behind += 1;
    client.post(message);
  }

  /** Reports the reorg, and the blocks, that a client missed before this block. */
  #catchUp(client, { number, hash, parentHash }) {
    client.isLate = false;
    const { ancestor, isDetached: detached } = client;
    client.ancestor = null;
    client.isDetached = false;
    let after = client.told.at(-1);
    const abandoned = ancestor && !detached ? client.rewind(ancestor) : [];
    if (abandoned.length > 0) {
      after = idOf(ancestor);
      client.behind += 1;
      client.post({ kind: "reorg", detail: { ancestor: after, abandoned, adopted: [] } });
    }
    if (!after || (number === after.number + 1 && parentHash === after.hash)) return;
    // The chain may have gone on at a lower height, or on a branch that the client does not have.
    const isLinked = client.told.some((id) => id.hash === parentHash);
    client.rewind({ number: detached ? -1 : isLinked ? number - 1 : number - 2 });
    after = client.told.at(-1) ?? after;
    const missing = Math.max(0, number - after.number - 1);
    const reason = "this tab did not process its reports";
    const before = { number, hash };
    const gap = { id: null, state: "skipped", after, before, missing, reason, detached };
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

/**
 * Connects a tab with its hub. Returns the function that takes the tab's messages. The first
 * message is the start. After another start, the tab is a new client. The function resolves to
 * whether the tab is a client of the hub afterwards.
 *
 * @param hubOf returns the hub of a key
 * @param post sends a message to the tab
 * @param left is called when the tab has ended without a message
 */
export function connection(hubOf, post, left = () => {}, locks = globalThis.navigator?.locks) {
  let hub, joining;
  const leave = async () => {
    await hub.leave(await joining);
    left();
  };
  const join = async (before, options) => hub.join(post, options, await before);
  return async (data) => {
    // The tab learns that this worker lives.
    if (data.ping) post({ pong: true });
    else if (data.start) {
      const { key, lock, ...options } = data.start;
      const isFirst = !joining;
      hub = hubOf(key);
      joining = join(joining, options);
      // A tab that ends sends no message, but releases its lock.
      if (lock && isFirst) void locks.request(lock, leave);
    } else if (hub) {
      await hub.heard(await joining, data);
    }
    return hub !== undefined && hub.has(await joining);
  };
}

/** Serves the tab at the other end of a port; see `connection`. */
export function attend(port, hubOf) {
  const post = (message) => port.postMessage(message);
  const hear = connection(hubOf, post);
  port.addEventListener("message", ({ data }) => hear(data));
  port.addEventListener("messageerror", () => {
    const message = "the shared worker can't read a message of the page";
    post({ failed: { code: "worker", message } });
  });
  port.start();
}
