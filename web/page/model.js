// All that the page knows of the chain and its peers, apart from the screen.
//
// Bounds: nothing here grows with the page's age. Blocks are kept without their payloads, of transactions only the
// sizes and types.

/** Blocks in the list. */
export const BLOCKS = 200;
/** Blocks in the charts. */
export const SAMPLES = 120;
/** Events in the log. */
const EVENTS = 100;
/** Gaps that are shown. */
const GAPS = 32;

export class Model {
  constructor() {
    /** Newest first. */
    this.blocks = [];
    /** Blocks that the list has not got yet, oldest first. */
    this.fresh = [];
    /** Whether marks of older blocks changed, which the list must look at. */
    this.marked = false;
    /** By their ids, with the most that was missing. */
    this.gaps = new Map();
    /** Newest first. */
    this.events = [];
    this.eventCount = 0;
    /** For the charts, oldest first: a running number, the block's, its latency (or null) and its bytes. */
    this.samples = { x: [], number: [], latency: [], size: [] };
    this.sequence = 0;
    this.head = null;
  }

  /** Takes the next block in. */
  block(block) {
    const kept = keep(block);
    // A fetched block says nothing of how fast gossip is.
    kept.latency = block.origin === "gossip" ? block.receivedAt - block.timestamp * 1e3 : null;
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

  /** A gap opened, changed or ended. */
  gap(gap) {
    const before = this.gaps.get(gap.id);
    if (gap.state === "opened" || gap.state === "changed") {
      this.gaps.set(gap.id, { ...gap, most: Math.max(gap.missing, before?.most ?? 0) });
      if (this.gaps.size > GAPS) this.gaps.delete(this.gaps.keys().next().value);
    } else {
      this.gaps.delete(gap.id);
    }
    if (gap.state === "skipped" || gap.state === "refused") {
      // The end of a gap may not say again where it was.
      const missing = gap.missing || before?.missing || 0;
      const above = gap.before ?? before?.before;
      const blocks = missing > 0 ? `${missing} block${missing === 1 ? "" : "s"}` : "blocks";
      const place = above ? ` below ${above.number}` : "";
      const reason = gap.reason ? ` (${gap.reason})` : "";
      const what = gap.state === "skipped" ? "left out, the chain goes on above" : "not asked for";
      this.event("gap", "Gap", `${blocks}${place}: ${what}${reason}`);
    }
  }

  /** The sequencer left a branch. */
  reorg({ ancestor, abandoned, adopted }) {
    const gone = new Set(abandoned.map((block) => block.hash));
    for (const block of this.blocks) if (gone.has(block.hash)) block.replaced = true;
    this.marked = true;
    const blocks = (list) => `${list.length} block${list.length === 1 ? "" : "s"}`;
    this.event("reorg", "Reorg", `${blocks(abandoned)} above ${ancestor.number} replaced by ${blocks(adopted)}`);
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

  /** A line of the log. One like the newest only counts it up. */
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

/** What is kept of a block. */
function keep(block) {
  const { number, hash, parentHash, timestamp, version, feeRecipient, stateRoot, receiptsRoot, prevRandao } = block;
  const { gasUsed, gasLimit, baseFeePerGas, extraData, parentBeaconBlockRoot, withdrawalsRoot } = block;
  const { transactionCount, size, signature, origin, peer, receivedAt, validation } = block;
  const transactions = block.transactions;
  return {
    number, hash, parentHash, timestamp, version, feeRecipient, stateRoot, receiptsRoot, prevRandao,
    gasUsed, gasLimit, baseFeePerGas, extraData, parentBeaconBlockRoot, withdrawalsRoot,
    transactionCount, size, signature, origin, peer, receivedAt, validation,
    sizes: Uint32Array.from(transactions, (bytes) => bytes.length),
    types: Uint8Array.from(transactions, (bytes) => bytes[0] ?? 0),
    replaced: false,
    latency: null,
  };
}

/** The value below which `share` of the values lie (nearest rank); `null` without values. */
export function percentile(values, share) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
