// Record of the reports that a tab got from its node, so that another node can continue for it. The
// tab gets each block once and in order, and learns of what was left out, also if the browser
// dropped reports.
//
// A new node begins at a block that the tab may have gone beyond. The tab is ahead until the node
// is beyond its last block, too. Until then, blocks that the tab has are dropped, and so are heads
// below its own. A block of another branch becomes a reorg.
//
// Bounds: POSITIONS ids of blocks, RECENT signed blocks of at most RECENT_BYTES together, but
// always the newest one, and GAPS open gaps.

/** Maximum number of ids of blocks that are known again. */
const POSITIONS = 256;
/** Maximum number of signed blocks from which another node can go on, and of their bytes. */
const RECENT = 8;
const RECENT_BYTES = 8 << 20;
/** Maximum number of open gaps. */
const GAPS = 64;
/** A tab that is further behind the newest one does not hold a new node back. */
const NEAR = 64;

/**
 * Returns the block from which a node goes on for several tabs: the newest one that all of them
 * have seen, or the oldest one there is.
 *
 * @param recent signed blocks as `Seen` keeps them, lowest first
 * @param lasts the numbers of the last blocks that the tabs have seen
 */
export function startOf(recent, lasts) {
  const newest = Math.max(...lasts);
  const lowest = Math.min(...lasts.filter((number) => number + NEAR >= newest));
  const below = recent.filter(({ detail }) => detail.number <= lowest);
  return below.at(-1) ?? recent[0];
}

/** Why a tab lacks blocks: a browser can drop what was sent to a tab that it has halted. */
const HALTED = "this tab was halted";
const MOVED = "no node took them while it moved to a tab";

const idOf = ({ number, hash }) => ({ number, hash });

/** Returns the higher of two positions; either can be `null`. */
const higher = (one, other) => (one && (!other || one.number > other.number) ? one : other);

export class Seen {
  /** Signed blocks, `{ detail, payload }`, lowest first. */
  recent = [];
  /** The signer that the page has read; `null` without one. */
  signer = null;
  /** The hashes of the last blocks, by their number. */
  #hashes = new Map();
  #last = null;
  #head = null;
  #status = null;
  #troubles = new Map();
  /** Open gaps, by the id that the tab knows them by. */
  #gaps = new Set();
  /** What is added to the node's ids of gaps, and the number above the highest sum. */
  #gapsFrom = 0;
  #gapsTo = 0;
  #isAhead = false;
  /** Why the tab lacks the blocks below the next one. */
  #why = HALTED;
  /** Whether the tab may have missed reports of troubles. The next status tells. */
  #isStale = false;
  /** Number of the block above a gap that the node has skipped. */
  #skippedTo = null;

  /** The last block that the tab has got, as `{ number, hash }`, or `null`. */
  get last() {
    return this.#last;
  }

  /**
   * Another node goes on. With `isSame` it is the same node, and the tab may have missed reports.
   * Returns the reports that end what the tab can't follow further.
   */
  moved(isSame = false) {
    const reports = isSame ? [] : this.#troublesAre([]);
    for (const id of this.#gaps)
      reports.push([
        "gap",
        {
          id,
          state: "closed",
          after: null,
          before: null,
          missing: 0,
          reason: null,
          detached: false,
        },
      ]);
    this.#isStale = this.#status !== null;
    if (this.#status && !isSame) {
      const lost = { state: "dialling", inMesh: false, roundTrip: null, retryIn: null };
      const peers = this.#status.peers?.map((peer) => ({ ...peer, ...lost }));
      const head = higher(this.#head, this.#status.head);
      const linked = this.#last ?? this.#status.linked;
      reports.push(["status", { ...this.#status, head, linked, peers, troubles: [] }]);
    }
    this.#gaps.clear();
    this.#gapsFrom = this.#gapsTo;
    this.#isAhead = this.#last !== null;
    this.#why = isSame ? HALTED : MOVED;
    this.#skippedTo = null;
    return reports;
  }

  /** Takes a report of the node. Returns the reports for the tab. */
  take(kind, detail, payload) {
    switch (kind) {
      case "block":
        return this.#block(detail, payload);
      case "reorg":
        return this.#reorg(detail);
      case "gap":
        return this.#gap(detail);
      case "head":
        if (this.#isAhead && this.#head && detail.number <= this.#head.number) return [];
        this.#head = detail;
        break;
      case "status":
        return this.#changed(detail);
      case "trouble":
        this.#troubles.set(detail.kind, detail);
        break;
      case "trouble-ended":
        this.#troubles.delete(detail.kind);
        break;
      case "signer":
        this.signer = detail.signer;
        break;
    }
    return [[kind, detail, payload]];
  }

  #block(detail, payload) {
    const reports = [["block", detail, payload]];
    const { number, hash, parentHash } = detail;
    const last = this.#last;
    if (last) {
      const isBelow = number <= last.number;
      // A block that is too old to be recognised counts as seen.
      const isKnown = isBelow && (this.#hashes.get(number) ?? hash) === hash;
      if (this.#isAhead && isKnown) return [];
      const isChild = number === last.number + 1 && parentHash === last.hash;
      if (!isChild && this.#skippedTo !== number) {
        const isAbove = number > last.number + 1;
        const why = this.#isAhead ? this.#why : HALTED;
        reports.unshift(isAbove ? this.#skip(last, detail, why) : this.#branch(detail));
      }
      this.#isAhead = false;
    }
    this.#keep(detail, payload);
    return reports;
  }

  /** Records the block that the tab gets. */
  #keep(detail, payload) {
    this.#cut(detail.number - 1);
    this.#last = idOf(detail);
    this.#hashes.set(detail.number, detail.hash);
    for (const number of this.#hashes.keys()) {
      if (this.#hashes.size <= POSITIONS) break;
      this.#hashes.delete(number);
    }
    if (!this.#head || this.#head.number < detail.number) {
      const { number, hash, timestamp, timestampMs, receivedAt } = detail;
      this.#head = { number, hash, timestamp, timestampMs, receivedAt };
    }
    if (!detail.signature || !payload) return;
    this.recent.push({ detail, payload });
    let bytes = this.recent.reduce((sum, block) => sum + block.payload.length, 0);
    while (this.recent.length > 1 && (this.recent.length > RECENT || bytes > RECENT_BYTES))
      bytes -= this.recent.shift().payload.length;
  }

  /** Forgets all blocks above a number. Returns their ids, lowest first. */
  #cut(number) {
    const ids = [];
    for (const [above, hash] of this.#hashes) if (above > number) ids.push({ number: above, hash });
    for (const { number: above } of ids) this.#hashes.delete(above);
    this.recent = this.recent.filter(({ detail }) => detail.number <= number);
    return ids;
  }

  /** Returns the report for a block that does not build on the tab's last one. */
  #branch(detail) {
    const { number, hash, parentHash } = detail;
    if (this.#head && this.#head.number >= number) this.#head = null;
    if (this.#hashes.get(number - 1) === parentHash) {
      const ancestor = { number: number - 1, hash: parentHash };
      const abandoned = this.#cut(number - 1);
      return ["reorg", { ancestor, abandoned, adopted: [{ number, hash }] }];
    }
    // The branches part further below, where no node has looked.
    this.#cut(number - 2);
    const below = [...this.#hashes].at(-1);
    const after = below ? { number: below[0], hash: below[1] } : this.#last;
    return this.#skip(after, detail, "the chain changed its branch in the meantime");
  }

  #skip(after, before, reason) {
    const missing = Math.max(1, before.number - after.number - 1);
    const gap = { id: null, state: "skipped", after, before: idOf(before), missing, reason };
    return ["gap", { ...gap, detached: false }];
  }

  #reorg(detail) {
    const { ancestor } = detail;
    const last = this.#last;
    const isOther = (this.#hashes.get(ancestor.number) ?? ancestor.hash) !== ancestor.hash;
    // The browser dropped what is below the ancestor. The next block says so.
    if (last && (ancestor.number > last.number || isOther)) return [];
    const known = this.#cut(ancestor.number);
    const abandoned = this.#isAhead && known.length > 0 ? known : detail.abandoned;
    this.#isAhead = false;
    this.#last = idOf(ancestor);
    // The head can be lower now.
    if (this.#head && this.#head.number > ancestor.number) this.#head = null;
    return [["reorg", { ...detail, abandoned }]];
  }

  #gap(detail) {
    const shown = { ...detail };
    if (detail.id !== null) {
      shown.id = detail.id + this.#gapsFrom;
      this.#gapsTo = Math.max(this.#gapsTo, shown.id + 1);
    }
    if (detail.state === "closed") {
      if (!this.#gaps.delete(shown.id)) return [];
    } else if (detail.detached) {
      // No block that the tab has is canonical any longer.
      this.#cut(-1);
      this.#isAhead = false;
    } else if (this.#isAhead && detail.after && detail.after.number < this.#last.number) {
      // The tab has the lower blocks of it, or all.
      const missing = detail.before.number - this.#last.number - 1;
      if (missing <= 0) return [];
      Object.assign(shown, { after: this.#last, missing: Math.min(detail.missing, missing) });
    }
    if (detail.state === "skipped") this.#skippedTo = detail.before.number;
    const isOpen = detail.id !== null && detail.state !== "closed";
    if (isOpen && this.#gaps.size < GAPS) this.#gaps.add(shown.id);
    return [["gap", shown]];
  }

  /** Takes the troubles that last. Returns the reports of those that began or ended. */
  #troublesAre(troubles) {
    const last = Math.floor(Date.now() / 1000);
    const before = this.#troubles;
    this.#troubles = new Map(troubles.map((trouble) => [trouble.kind, trouble]));
    const ended = [...before.values()].filter(({ kind }) => !this.#troubles.has(kind));
    const begun = troubles.filter(({ kind }) => !before.has(kind));
    return [
      ...ended.map((trouble) => ["trouble-ended", { ...trouble, last }]),
      ...begun.map((trouble) => ["trouble", trouble]),
    ];
  }

  #changed(detail) {
    const troubles = detail.troubles ? this.#troublesAre(detail.troubles) : [];
    const reports = this.#isStale ? troubles : [];
    this.#isStale = false;
    let shown = detail;
    if (this.#isAhead) {
      shown = { ...detail, head: higher(this.#head, detail.head), linked: this.#last };
      shown.highest = higher(this.#status?.highest ?? null, detail.highest);
    } else if (detail.head) {
      this.#head = detail.head;
    }
    this.#status = shown;
    return [...reports, ["status", shown]];
  }
}
