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
 * options use one node in a shared worker. The node stops with its last observer. A tab that the
 * browser has frozen misses blocks. When it resumes, a `gap` event with the state `skipped` reports
 * them.
 *
 * Without shared workers, as in Chromium on Android, each tab runs its own node.
 */
export function shared(): WorkerLike;
