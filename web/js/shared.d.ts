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
 * The value of the option `worker` for a node that the tabs share: observers of this origin with the
 * same options have one node, in a shared worker, which stops with the last of them. It holds 256
 * observers. A tab that the browser has frozen misses blocks, which a `gap` event with the state
 * `skipped` reports when it goes on.
 *
 * Where there are no shared workers, as in Chromium on Android, each tab has a node of its own.
 */
export function shared(): WorkerLike;
