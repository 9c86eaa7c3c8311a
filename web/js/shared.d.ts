/**
 * One node for all tabs of an origin.
 *
 * ```ts
 * import { observe } from "opp2p";
 * import { shared } from "opp2p/shared";
 *
 * const observer = await observe({ network: "op-mainnet", peers: "…", worker: shared });
 * ```
 *
 * @module
 */

/** A worker, as {@link ObserveOptions.worker} takes it. */
interface WorkerLike {
  postMessage(message: any, transfer?: any): void;
  terminate(): unknown;
  addEventListener(type: string, listener: (event: any) => void, options?: any): void;
}

/**
 * Value of the option `worker` for a shared node: up to 256 observers of an origin with the same
 * options use one node, which stops with its last observer. A tab that the browser has frozen
 * misses blocks. When it resumes, a `gap` event with the state `skipped` reports them.
 *
 * The place of the node is chosen automatically:
 *
 * * a shared worker. It takes {@link ObserveOptions.wasm} as a URL or bytes, but not as a compiled
 *   module or a `Response`;
 * * without shared workers, as in Chromium on Android, a worker of one tab. Web Locks elect that
 *   tab, and the others reach it through a `BroadcastChannel`. When it is closed, stops, is frozen
 *   or crashes, the node moves to another tab. A tab without a sign of life for about 25 seconds
 *   counts as frozen. Each observer continues after the last block that it reported: it reports no
 *   block twice, and a `gap` event with the state `skipped` reports what no gateway delivers. Until
 *   the new node is connected, the peers are `dialling`. `peerId` and `counters` are those of the
 *   new node. Pending questions go to it;
 * * without Web Locks (over http, except on localhost) or `BroadcastChannel`, a node in each tab.
 */
export function shared(): WorkerLike;
