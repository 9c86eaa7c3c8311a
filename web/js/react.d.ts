/**
 * React hooks over an observer or a provider. Pass `null` before it has started.
 *
 * On a server, the hooks return the same as in a page before its first block.
 *
 * @module
 */

import type { Block, Head, Observer, Status } from "./index.js";

/** An observer, an object with one (a provider), or nothing yet. */
export type Source = Observer | { readonly observer: Observer } | null | undefined;

/** Returns the number, hash and times of the newest verified block, or `null` before the first. */
export function useHead(source: Source): Head | null;

/** Returns the observer's head, peers, troubles and counters, or `null` before it has started. */
export function useStatus(source: Source): Status | null;

/**
 * Returns the newest blocks that arrived since a component first called the hook, newest first. A
 * reorg or a skipped gap removes the blocks that are no longer canonical.
 *
 * @param count maximum number of blocks, 1 to 256. Default: 10.
 */
export function useBlocks(source: Source, count?: number): readonly Block[];
