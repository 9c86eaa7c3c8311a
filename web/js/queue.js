// One iterator over the chain: a bounded queue between the node and a consumer at its own pace.
//
// Bounds: a queue holds at most `maxBlocks` blocks and marks and `maxBytes` bytes of payloads, but
// always the newest one. What does not fit is dropped, oldest first, and leaves a mark.

/** Returns `{ number, hash }` of a block. */
const idOf = ({ number, hash }) => Object.freeze({ number, hash });

export class Queue {
  #items = [];
  #bytes = 0;
  /** What was dropped before the first item. */
  #lost = null;
  /** Whether the consumer has not caught up since it lost something. */
  #behind = false;
  #waiting = [];
  #ended = false;
  /** Reason of the abort, as `{ reason }`, until a call of `next` has reported it. */
  #aborted = null;
  #limits;
  #hooks;
  #abort = () => this.#fail(this.#limits.signal.reason);

  /**
   * @param limits `{ maxBlocks, maxBytes, marks, signal }`. Without `marks` it yields blocks, with
   *   `marks` it yields items: `{ kind: "block", block }` and marks
   * @param hooks `lost(mark)` is called when the consumer begins to lose blocks, `left()` when it
   *   takes no more
   */
  constructor(limits, hooks) {
    this.#limits = limits;
    this.#hooks = hooks;
    if (limits.signal?.aborted) this.#abort();
    else limits.signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Adds an item, unless the consumer has left. */
  push(item) {
    if (this.#ended || (item.kind !== "block" && !this.#limits.marks)) return;
    const waiting = this.#waiting.shift();
    if (waiting) return waiting.resolve({ value: this.#shown(item), done: false });
    this.#items.push(item);
    this.#bytes += item.block?.payloadSize ?? 0;
    const { maxBlocks, maxBytes } = this.#limits;
    while (this.#items.length > 1 && (this.#items.length > maxBlocks || this.#bytes > maxBytes))
      this.#drop();
    if (this.#lost && !this.#behind) {
      this.#behind = true;
      this.#hooks.lost(this.#mark());
    }
  }

  #drop() {
    const { kind, block } = this.#items.shift();
    this.#lost ??= { count: 0, first: null, last: null, marks: 0 };
    if (kind === "block") {
      this.#bytes -= block.payloadSize;
      this.#lost.count += 1;
      this.#lost.first ??= idOf(block);
      this.#lost.last = idOf(block);
    } else {
      this.#lost.marks += 1;
    }
  }

  #mark() {
    return Object.freeze({ kind: "lost", ...this.#lost });
  }

  #shown(item) {
    return this.#limits.marks ? item : item.block;
  }

  /** No more items come. What is queued is still handed on. */
  end() {
    this.#ended = true;
    this.#limits.signal?.removeEventListener("abort", this.#abort);
    for (const waiting of this.#waiting.splice(0))
      waiting.resolve({ value: undefined, done: true });
  }

  #leave() {
    this.#items.length = 0;
    this.#bytes = 0;
    this.#lost = null;
    this.end();
    this.#hooks.left(this);
  }

  #fail(reason) {
    const [first] = this.#waiting.splice(0, 1);
    if (first) first.reject(reason);
    else this.#aborted = { reason };
    this.#leave();
  }

  next() {
    if (this.#aborted) {
      const { reason } = this.#aborted;
      this.#aborted = null;
      return Promise.reject(reason);
    }
    if (this.#lost) {
      const value = this.#mark();
      this.#lost = null;
      if (this.#limits.marks) return Promise.resolve({ value, done: false });
    }
    if (this.#items.length > 0) {
      const item = this.#items.shift();
      this.#bytes -= item.block?.payloadSize ?? 0;
      if (this.#items.length === 0) this.#behind = false;
      return Promise.resolve({ value: this.#shown(item), done: false });
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  return(value) {
    this.#leave();
    return Promise.resolve({ value, done: true });
  }

  throw(error) {
    this.#leave();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}
