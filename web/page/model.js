// State of the chain and its peers for the page, independent of the screen.
//
// Bounds: nothing here grows with the page's age. Blocks are kept without their payloads; of
// transactions only the sizes and types are kept.

/** Maximum number of blocks in the list. */
export const BLOCKS = 200;
/** Maximum number of blocks in the charts. */
export const SAMPLES = 120;
/** Maximum number of events in the log. */
const EVENTS = 100;
/** Maximum number of gaps shown. */
const GAPS = 32;

export class Model {
  constructor() {
    /** Newest first. */
    this.blocks = [];
    /** Blocks that the list does not show yet, oldest first. */
    this.fresh = [];
    /** Whether marks of older blocks changed, so that the list must be updated. */
    this.marked = false;
    /** Open gaps by id, each with the largest number of blocks that was missing. */
    this.gaps = new Map();
    /** Newest first. */
    this.events = [];
    this.eventCount = 0;
    /**
     * For the charts, oldest first: a running number, the block number, its latency (or null) and
     * its bytes.
     */
    this.samples = { x: [], number: [], latency: [], size: [] };
    this.sequence = 0;
    this.head = null;
    /**
     * The newest signed block, its time of arrival here, and whether the chain is known up to it.
     */
    this.newest = null;
    /** Code of the newest error that keeps blocks out; `null` once a block has arrived. */
    this.refusal = null;
  }

  /**
   * Adds the next block. `signer` is the address that signed it, or the signed block that proves
   * it, and the source of that address.
   */
  block(block, signer = null) {
    const kept = { ...keep(block), signer };
    this.refusal = null;
    // A fetched block tells nothing about the latency of gossip.
    kept.latency = block.origin === "gossip" ? block.receivedAt - block.timestampMs : null;
    this.blocks.unshift(kept);
    if (this.blocks.length > BLOCKS) this.blocks.length = BLOCKS;
    this.fresh.push(kept);
    if (this.fresh.length > BLOCKS) this.fresh.shift();
    const { x, number, latency, size } = this.samples;
    x.push(this.sequence++);
    number.push(kept.number);
    latency.push(kept.latency);
    size.push(kept.size);
    if (x.length > SAMPLES) for (const values of [x, number, latency, size]) values.shift();
  }

  /**
   * Takes the newest verified block of an observer, and the newest block up to which it has all.
   * Without a time of its own, the age of a block counts from `now`, in milliseconds, when it is
   * first seen here.
   */
  look({ head, highest, linked = head }, now) {
    this.head = head;
    const newest = highest && highest.number > (head?.number ?? -1) ? highest : head;
    if (newest === null) {
      this.newest = null;
      return;
    }
    const isLinked = linked !== null && linked.number >= newest.number;
    const since = newest.timestampMs ?? (this.newest?.hash === newest.hash ? this.newest.since : now);
    this.newest = { ...newest, since, hasTime: newest.timestampMs !== undefined, isLinked };
  }

  /**
   * Returns the progress of all open gaps, as numbers of blocks; `null` if none misses blocks.
   * `fetched` is the number of blocks fetched since the start.
   */
  progress(fetched) {
    let [missing, most] = [0, 0];
    let first = fetched;
    for (const gap of this.gaps.values()) {
      missing += gap.missing;
      most += gap.most;
      first = Math.min(first, gap.fetched);
    }
    if (missing === 0) return null;
    // A gap is reported when it opens and when it is filled; the counter also moves in between.
    const done = Math.max(most - missing, Math.min(fetched - first, most - 1));
    return { done, most, missing: most - done };
  }

  /**
   * A gap opened, changed or ended. `fetched` is the number of blocks fetched since the start.
   */
  gap(gap, fetched = 0) {
    const before = this.gaps.get(gap.id);
    if (gap.state === "opened" || gap.state === "changed") {
      const most = Math.max(gap.missing, before?.most ?? 0);
      this.gaps.set(gap.id, { ...gap, most, fetched: before?.fetched ?? fetched });
      if (this.gaps.size > GAPS) this.gaps.delete(this.gaps.keys().next().value);
    } else {
      this.gaps.delete(gap.id);
    }
    // The end of a gap may not repeat its position.
    if (gap.state === "refused") this.leftOut(gap, gap.missing || before?.missing || 0, gap.before ?? before?.before);
    if (gap.state === "skipped") {
      // As the interface says: these blocks are no longer canonical.
      const { after, before: above, detached } = gap;
      if (detached) this.replace(0);
      else if (above) this.replace(Math.min((after ?? above).number + 1, above.number));
      this.leftOut(gap, gap.missing, above);
    }
  }

  /** Adds blocks that won't come, below the block `above` if that is known. */
  leftOut({ state, reason, detached }, missing, above) {
    const why = reason ? ` (${reason})` : "";
    const branch = detached ? ", on another branch" : "";
    if (state === "skipped" && missing === 0 && above) {
      this.event("gap", "Gap", `the chain goes on at ${above.number}${branch}${why}`);
      return;
    }
    const blocks = missing > 0 ? `${missing} block${missing === 1 ? "" : "s"}` : "blocks";
    const place = above ? ` below ${above.number}` : "";
    const what = state === "skipped" ? `left out, the chain goes on above${branch}` : "not asked for";
    this.event("gap", "Gap", `${blocks}${place}: ${what}${why}`);
  }

  /** Marks blocks from this number on as replaced: the blocks of the new branch come next. */
  replace(number) {
    for (const block of this.blocks) if (block.number >= number) block.replaced = true;
    this.marked = true;
  }

  /** The sequencer left a branch. */
  reorg({ ancestor, abandoned, adopted }) {
    this.replace(ancestor.number + 1);
    const count = (list) => list.length ?? list.count;
    const blocks = (list) => `${count(list)} block${count(list) === 1 ? "" : "s"}`;
    const by = count(adopted) > 0 ? `replaced by ${blocks(adopted)}` : "taken back";
    this.event("reorg", "Reorg", `${blocks(abandoned)} above ${ancestor.number} ${by}`);
  }

  /** The sequencer signed two blocks of one height. */
  equivocation({ number, first, second }) {
    const short = (block) => `${block.hash.slice(0, 10)}…`;
    this.event("equivocation", "Equivocation", `two signed blocks ${number}: ${short(first)} and ${short(second)}`);
  }

  /** A message was not accepted. */
  rejected({ rule, text, verdict, peer, at }) {
    const title = verdict === "reject" ? "Rejected" : "Ignored";
    this.event(verdict, title, text || rule, peer, at);
  }

  /** A trouble of the observer itself began. */
  troubleBegan({ text }) {
    this.event("trouble", "Trouble", text);
  }

  /** A trouble of the observer itself ended. */
  troubleEnded({ text }) {
    this.event("trouble-ended", "Trouble is over", text);
  }

  /** Blocks of another signer are accepted from now on. */
  signer({ signer }) {
    this.event("signer", "New signer", signer ? `blocks of ${signer} are accepted from now on` : "the signer is no longer known");
  }

  /** Adds a line to the log. One like the newest only increases its count. */
  event(kind, title, text, peer = null, at = Date.now()) {
    this.eventCount += 1;
    const newest = this.events[0];
    if (newest && newest.kind === kind && newest.text === text && newest.peer === peer) {
      newest.times += 1;
      newest.at = at;
      return;
    }
    this.events.unshift({ id: this.eventCount, kind, title, text, peer, at, times: 1 });
    if (this.events.length > EVENTS) this.events.length = EVENTS;
  }
}

/** Returns the kept part of a block. */
function keep(block) {
  const { number, hash, parentHash, timestamp, timestampMs, version, feeRecipient, stateRoot, receiptsRoot, prevRandao } = block;
  const { gasUsed, gasLimit, baseFeePerGas, extraData, parentBeaconBlockRoot, withdrawalsRoot } = block;
  const { transactionCount, size, signature, origin, peer, receivedAt, validation } = block;
  const transactions = block.transactions;
  return {
    number, hash, parentHash, timestamp, timestampMs, version, feeRecipient, stateRoot, receiptsRoot, prevRandao,
    gasUsed, gasLimit, baseFeePerGas, extraData, parentBeaconBlockRoot, withdrawalsRoot,
    transactionCount, size, signature, origin, peer, receivedAt, validation,
    sizes: Uint32Array.from(transactions, (bytes) => bytes.length),
    types: Uint8Array.from(transactions, (bytes) => bytes[0] ?? 0),
    replaced: false,
    latency: null,
  };
}

/**
 * Returns the value below which `share` of the values lie (nearest rank); `null` without values.
 */
export function percentile(values, share) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
