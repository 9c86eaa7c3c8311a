// React hooks over an observer or a provider. A snapshot keeps its identity until its contents
// change. feed.js bounds the blocks.

import { useSyncExternalStore } from "react";
import { MOST, NONE, feedOf } from "./feed.js";

const nothing = () => () => {};

/** Returns the observer of a provider, or the observer itself; `null` before it has started. */
const observerOf = (source) => source?.observer ?? source ?? null;

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
