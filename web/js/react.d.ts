/**
 * React hooks over an observer or a provider. Before it has started, give `null`.
 *
 * A server renders nothing of the chain, as a page does before its first block.
 *
 * @module
 */

import type { Block, Head, Observer, Status } from "./index.js";

/** An observer, something that has one (a provider), or nothing yet. */
export type Source = Observer | { readonly observer: Observer } | null | undefined;

/** Returns the newest verified block's number, hash and times; `null` before the first. */
export function useHead(source: Source): Head | null;

/** Returns the observer's state: head, peers, troubles, counters; `null` before it has started. */
export function useStatus(source: Source): Status | null;

/**
 * Returns the newest blocks of the chain that arrived since a component first asked, newest first.
 * Blocks that a reorg abandons are taken out.
 *
 * @param count maximum number of blocks, 1 to 256. Default: 10.
 */
export function useBlocks(source: Source, count?: number): readonly Block[];
