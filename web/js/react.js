// React hooks over an observer or a provider. A snapshot keeps its identity until its contents
// change.
//
// Bounds: MOST blocks per observer, shared by all components.

import { useSyncExternalStore } from "react";

/** Maximum number of blocks that `useBlocks` shows. */
const MOST = 256;
const NONE = Object.freeze([]);
const nothing = () => () => {};

/** Returns the observer of a provider, or the observer itself; `null` before it has started. */
const observerOf = (source) => source?.observer ?? source ?? null;

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
        this.#observer.on("reorg", ({ ancestor }) =>
          this.#set(this.#blocks.filter(({ number }) => number <= ancestor.number)),
        ),
      ];
    }
    return () => {
      this.#changed.delete(changed);
      if (this.#changed.size === 0) for (const off of this.#offs.splice(0)) off();
    };
  };

  #set(blocks) {
    this.#blocks = Object.freeze(blocks);
    this.#shown.clear();
    for (const changed of [...this.#changed]) changed();
  }

  first(count) {
    if (!this.#shown.has(count)) this.#shown.set(count, Object.freeze(this.#blocks.slice(0, count)));
    return this.#shown.get(count);
  }
}

function feedOf(observer) {
  if (!feeds.has(observer)) feeds.set(observer, new Feed(observer));
  return feeds.get(observer);
}

/** Subscribe functions, by observer. React subscribes again whenever the function changes. */
const subscribers = new WeakMap();

function subscriberOf(observer) {
  if (!observer) return nothing;
  if (!subscribers.has(observer))
    subscribers.set(observer, (changed) => observer.on("status", changed));
  return subscribers.get(observer);
}

export function useStatus(source) {
  const observer = observerOf(source);
  const read = () => observer?.status ?? null;
  return useSyncExternalStore(subscriberOf(observer), read, () => null);
}

export function useHead(source) {
  const observer = observerOf(source);
  const read = () => observer?.head ?? null;
  return useSyncExternalStore(subscriberOf(observer), read, () => null);
}

export function useBlocks(source, count = 10) {
  if (!Number.isInteger(count) || count < 1 || count > MOST)
    throw new RangeError(`useBlocks() shows 1 to ${MOST} blocks`);
  const observer = observerOf(source);
  const feed = observer && feedOf(observer);
  const read = () => feed?.first(count) ?? NONE;
  return useSyncExternalStore(feed?.subscribe ?? nothing, read, () => NONE);
}
