// The newest blocks of an observer, for the React hooks. A list keeps its identity until its
// contents change.
//
// Bounds: MOST blocks per observer.

/** Maximum number of blocks of a list. */
export const MOST = 256;
export const NONE = Object.freeze([]);

/** The feeds, by observer. */
const feeds = new WeakMap();

/** Collects the newest blocks of an observer, newest first, while a component shows them. */
class Feed {
  #observer;
  #blocks = NONE;
  /** The current lists, by their maximum length. */
  #shown = new Map();
  #changed = new Set();
  #offs = [];

  constructor(observer) {
    this.#observer = observer;
  }

  subscribe = (changed) => {
    // Each component passes its own function.
    this.#changed.add(changed);
    if (this.#offs.length === 0) {
      // Blocks that arrived without a listening component are missing, so the list restarts.
      if (this.#blocks[0]?.hash !== this.#observer.linked?.hash) this.#set(NONE);
      this.#offs = [
        this.#observer.on("block", (block) => this.#set([block, ...this.#blocks].slice(0, MOST))),
        this.#observer.on("reorg", ({ ancestor }) => this.#takeBack(ancestor.number)),
        this.#observer.on("gap", ({ state, after, before, detached }) => {
          if (state !== "skipped") return;
          // Shown blocks above `after`, or from `before` up, are no longer canonical.
          this.#takeBack(detached ? -1 : Math.min(after.number, before.number - 1));
        }),
      ];
    }
    return () => {
      this.#changed.delete(changed);
      if (this.#changed.size === 0) for (const off of this.#offs.splice(0)) off();
    };
  };

  /** Removes the blocks above a number. */
  #takeBack(number) {
    const blocks = this.#blocks.filter((block) => block.number <= number);
    if (blocks.length < this.#blocks.length) this.#set(blocks);
  }

  #set(blocks) {
    this.#blocks = Object.freeze(blocks);
    this.#shown.clear();
    for (const changed of [...this.#changed]) changed();
  }

  first(count) {
    if (!this.#shown.has(count))
      this.#shown.set(count, Object.freeze(this.#blocks.slice(0, count)));
    return this.#shown.get(count);
  }
}

/** Returns the feed of an observer: all components share it. */
export function feedOf(observer) {
  if (!feeds.has(observer)) feeds.set(observer, new Feed(observer));
  return feeds.get(observer);
}
