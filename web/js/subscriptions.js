// Subscriptions and filters of a provider: new heads, and proved logs.
//
// Heads are reported as they arrive. The logs of blocks are read one block after another, so they
// arrive in order, also after a reorg.
//
// Bounds:
// * MOST subscriptions and filters together.
// * A filter holds MOST_ITEMS results. It is removed with the next one, or after FILTER_MS without
//   a call.
// * Blocks that wait for their logs: the bounds of `follow()`.
// * Logs that a reorg may remove: KEPT_LOGS, of the last KEPT blocks with logs. Those of the newest
//   block are always kept.

import { RpcError, fail } from "./rpc-error.js";

/** Maximum number of subscriptions and filters. */
const MOST = 128;
/** Maximum number of results in a filter. */
const MOST_ITEMS = 10_000;
/** Milliseconds without a call after which a filter is removed, as in execution clients. */
const FILTER_MS = 300_000;
/** Numbers of blocks and of logs to keep for a reorg. */
const KEPT = 256;
const KEPT_LOGS = 20_000;
/** Pauses in milliseconds before further attempts to read a block's logs. */
const AGAIN_MS = [500, 1000, 2000];
/** Maximum numbers of topics and of alternatives, as in execution clients. */
const MOST_TOPICS = 4;
const MOST_ALTERNATIVES = 1000;

const hex = (number) => `0x${number.toString(16)}`;

/** Returns the header of a block as `newHeads` reports it. */
export function header(block) {
  const shown = {
    number: hex(block.number),
    hash: block.hash,
    parentHash: block.parentHash,
    nonce: block.nonce,
    sha3Uncles: block.sha3Uncles,
    logsBloom: block.logsBloom,
    transactionsRoot: block.transactionsRoot,
    stateRoot: block.stateRoot,
    receiptsRoot: block.receiptsRoot,
    miner: block.miner,
    difficulty: hex(block.difficulty),
    extraData: block.extraData,
    gasLimit: hex(block.gasLimit),
    gasUsed: hex(block.gasUsed),
    timestamp: hex(block.timestamp),
    mixHash: block.mixHash,
    baseFeePerGas: hex(block.baseFeePerGas),
  };
  // Blocks before the forks that introduced these fields lack them.
  const later = {
    withdrawalsRoot: block.withdrawalsRoot,
    blobGasUsed: block.blobGasUsed,
    excessBlobGas: block.excessBlobGas,
    parentBeaconBlockRoot: block.parentBeaconBlockRoot,
    requestsHash: block.requestsHash,
  };
  for (const [name, value] of Object.entries(later)) {
    if (value === null || value === undefined) continue;
    shown[name] = typeof value === "bigint" ? hex(value) : value;
  }
  return shown;
}

const isHex = (value, digits) =>
  typeof value === "string" && value.length === 2 + digits && /^0x[0-9a-f]*$/i.test(value);

/** Validates and returns the address and topics of a filter. Its block range is ignored. */
function selection(filter) {
  const refuse = (what) => fail(-32602, `invalid filter: ${what}`);
  if (filter === undefined || filter === null) return {};
  if (typeof filter !== "object" || Array.isArray(filter)) refuse("it is not an object");
  const { address, topics } = filter;
  const given = (value) => value !== undefined && value !== null;
  const all = (values, digits) =>
    values.length <= MOST_ALTERNATIVES && values.every((value) => isHex(value, digits));
  if (given(address) && !all([address].flat(), 40))
    refuse("`address` is neither an address nor a list of addresses");
  if (given(topics)) {
    const isTopic = (topic) => topic === null || all([topic].flat(), 64);
    if (!Array.isArray(topics) || topics.length > MOST_TOPICS || !topics.every(isTopic))
      refuse(`\`topics\` is not a list of up to ${MOST_TOPICS} topics, lists of topics and nulls`);
  }
  return structuredClone({
    ...(given(address) ? { address } : {}),
    ...(given(topics) ? { topics } : {}),
  });
}

/** Returns a random id of 128 bits. */
function fresh() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export class Subscriptions {
  #observer;
  #hooks;
  /** Entries `{ id, kind, filter, select, items, asked }` by id. A subscription has no `items`. */
  #all = new Map();
  /** Reported logs by block, oldest first: `{ number, logs: [[entry, log]] }`. */
  #told = [];
  /** Number of logs in `#told`. */
  #kept = 0;
  /** Function that removes the listener for heads. */
  #heads;
  /** Controller that aborts the reading of logs. */
  #logs;

  /**
   * @param observer source of the blocks
   * @param hooks `message(id, result)` reports a result, `read(method, params, signal)` reads from
   *   the node, `missed({ subscription, first, last, error })` reports blocks without logs
   */
  constructor(observer, hooks) {
    this.#observer = observer;
    this.#hooks = hooks;
  }

  /** Adds a subscription. Returns its id. */
  subscribe(kind, filter) {
    if (kind !== "newHeads" && kind !== "logs")
      fail(-32602, "only `newHeads` and `logs` can be subscribed to");
    return this.#add({ kind, select: kind === "logs" ? selection(filter) : null, items: null });
  }

  /** Adds a filter, whose results wait for `eth_getFilterChanges`. Returns its id. */
  filter(kind, filter) {
    const select = kind === "logs" ? selection(filter) : null;
    return this.#add({ kind, filter, select, items: [], asked: Date.now() });
  }

  #add(entry) {
    this.#expire();
    if (this.#all.size >= MOST) fail(-32005, `remove some of the ${MOST} subscriptions and filters`);
    const id = fresh();
    this.#all.set(id, { id, ...entry });
    this.#adapt();
    return id;
  }

  /** Removes a subscription, or a filter if `isFilter`. Returns whether it existed. */
  remove(id, isFilter) {
    const entry = this.#all.get(id);
    if (!entry || (entry.items !== null) !== isFilter) return false;
    this.#all.delete(id);
    this.#adapt();
    return true;
  }

  /** Returns the results of a filter since the last call. */
  changes(id) {
    return this.#filter(id).items.splice(0);
  }

  /** Returns the caller's filter of a log filter. */
  logsOf(id) {
    const { kind, filter } = this.#filter(id);
    if (kind !== "logs") fail(-32602, "the filter is not a log filter");
    return filter ?? {};
  }

  #filter(id) {
    this.#expire();
    const entry = this.#all.get(id);
    // viem, ethers and web3.js recreate the filter at this message.
    if (!entry?.items) throw new RpcError(-32000, "filter not found");
    entry.asked = Date.now();
    return entry;
  }

  /** Removes all subscriptions and filters. */
  end() {
    this.#all.clear();
    this.#adapt();
  }

  #expire() {
    const now = Date.now();
    for (const [id, { items, asked }] of this.#all)
      if (items && now - asked > FILTER_MS) this.#all.delete(id);
    this.#adapt();
  }

  #of(kind) {
    return [...this.#all.values()].filter((entry) => entry.kind === kind);
  }

  /** Starts and stops listening to the observer as the subscriptions require. */
  #adapt() {
    const wantsHeads = this.#of("newHeads").length > 0;
    if (wantsHeads) this.#heads ??= this.#observer.on("block", (block) => this.#head(block));
    else {
      this.#heads?.();
      this.#heads = undefined;
    }
    const wantsLogs = this.#of("logs").length > 0;
    if (wantsLogs && !this.#logs) {
      this.#logs = new AbortController();
      void this.#follow(this.#logs.signal);
    } else if (!wantsLogs && this.#logs) {
      this.#logs.abort();
      this.#logs = undefined;
      this.#told = [];
      this.#kept = 0;
    }
  }

  /** Reports a result of a subscription, or adds it to a filter. */
  #give(entry, result) {
    if (this.#all.get(entry.id) !== entry) return;
    if (!entry.items) return this.#hooks.message(entry.id, result);
    if (entry.items.push(result) > MOST_ITEMS) this.remove(entry.id, true);
  }

  #head(block) {
    this.#expire();
    const shown = header(block);
    for (const entry of this.#of("newHeads")) this.#give(entry, entry.items ? shown.hash : shown);
  }

  /** Reads the logs of one block after another. */
  async #follow(signal) {
    try {
      for await (const item of this.#observer.follow({ name: "logs", signal })) {
        this.#expire();
        if (signal.aborted) return;
        if (item.kind === "block") await this.#block(item.block, signal);
        else if (item.kind === "reorg") this.#takeBack(item.reorg.ancestor.number);
        else if (item.kind === "lost") this.#missed(item.first, item.last, null);
        else this.#skipped(item.gap);
      }
    } catch (error) {
      // After an abort, the subscriptions have ended.
      if (!signal.aborted) throw error;
    }
  }

  /**
   * Blocks above `after`, or from the height of `before` up, are no longer canonical; none is if
   * the new branch is detached.
   */
  #skipped({ after, before, missing, detached }) {
    this.#takeBack(detached ? -1 : Math.min(after.number, before.number - 1));
    if (missing > 0) this.#missed(after, before, null);
  }

  #missed(first, last, error, entries = this.#of("logs")) {
    for (const { id } of entries) this.#hooks.missed({ subscription: id, first, last, error });
  }

  async #block(block, signal) {
    const { number, hash } = block;
    const entries = this.#of("logs");
    const read = async (entry) => {
      try {
        return await this.#read([{ ...entry.select, blockHash: hash }], signal);
      } catch (error) {
        if (!signal.aborted) this.#missed({ number, hash }, { number, hash }, error, [entry]);
        return [];
      }
    };
    const found = await Promise.all(entries.map(read));
    if (signal.aborted) return;
    const logs = entries.flatMap((entry, at) => found[at].map((log) => [entry, log]));
    if (logs.length === 0) return;
    this.#told.push({ number, logs });
    this.#kept += logs.length;
    while (this.#told.length > 1 && (this.#told.length > KEPT || this.#kept > KEPT_LOGS))
      this.#kept -= this.#told.shift().logs.length;
    for (const [entry, log] of logs) this.#give(entry, log);
  }

  /** Reads logs, with retries: endpoints may lag. */
  async #read(params, signal) {
    for (const wait of [...AGAIN_MS, null]) {
      try {
        return await this.#hooks.read("eth_getLogs", params, signal);
      } catch (error) {
        if (wait === null || signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /** Reports the logs above a block as removed, newest first. */
  #takeBack(ancestor) {
    while (this.#told.length > 0 && this.#told.at(-1).number > ancestor) {
      const { logs } = this.#told.pop();
      this.#kept -= logs.length;
      for (const [entry, log] of logs.reverse()) this.#give(entry, { ...log, removed: true });
    }
  }
}
