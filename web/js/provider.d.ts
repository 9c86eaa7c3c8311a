/**
 * An EIP-1193 provider that can't be lied to: gossip delivers the newest block, and proofs by it show
 * what JSON-RPC endpoints say.
 *
 * ```ts
 * import { createProvider } from "opp2p/provider";
 *
 * const provider = await createProvider({
 *   network: "op-mainnet",
 *   peers: "/dns4/gateway.example/tcp/443/wss/p2p/16Uiu2…",
 *   rpc: ["https://one.example", "https://other.example"],
 * });
 * const balance = await provider.request({ method: "eth_getBalance", params: [address, "latest"] });
 * ```
 *
 * @module
 */

/// <reference lib="esnext.disposable" />

import type { BlockId, LieEvent, ObserveOptions, Observer, ReadOptions } from "./index.js";

export { ObserverError } from "./index.js";
export type { BlockId, LieEvent, ObserveOptions, Observer, ReadOptions } from "./index.js";

/** Options of {@link createProvider} for a provider with an observer of its own. */
export interface OwnObserverOptions extends Omit<ObserveOptions, "reads" | "rpc">, ReadOptions {
  /**
   * JSON-RPC endpoints of the chain, 1 to 8. They are not trusted: what they answer is proved, or
   * refused. They have to allow the page (CORS), and the page's content-security policy has to allow
   * them (`connect-src`).
   */
  rpc: string | Iterable<string>;
  observer?: undefined;
}

/** Options of {@link createProvider} for an observer that runs already. */
export interface GivenObserverOptions {
  /** An observer that was started with {@link ObserveOptions.reads}. It outlives the provider. */
  observer: Observer;
}

export type ProviderOptions = OwnObserverOptions | GivenObserverOptions;

/**
 * Starts a provider. Resolves as soon as its node runs; requests wait up to 25 seconds for the first
 * head.
 *
 * @throws {ObserverError} as {@link observe} does
 */
export function createProvider(options: ProviderOptions): Promise<Provider>;

/** A JSON-RPC request. */
export interface RequestArguments {
  readonly method: string;
  readonly params?: readonly unknown[] | object | undefined;
}

/** Options of one request. */
export interface RequestOptions {
  /** Ends the request: it rejects with the signal's `reason`. */
  signal?: ObserveOptions["signal"];
}

/** An answer, with what stands behind it. */
export interface Answer {
  readonly result: any;
  /**
   * The block that the answer is about; `null` if it is about none. Where endpoints lag behind gossip,
   * it can be older than the head; see {@link ReadOptions.lag}.
   */
  readonly block: BlockId | null;
  /** `false` for methods of {@link ReadOptions.unverified}, whose answers an endpoint merely says. */
  readonly verified: boolean;
}

/** An error of EIP-1193 or JSON-RPC. */
export class RpcError extends Error {
  readonly name: "ProviderRpcError";
  /**
   * 4200: the method takes a wallet. 4900: the provider has ended, or no gateway is connected.
   * Others are those of JSON-RPC.
   */
  readonly code: number;
  readonly data?: unknown;
}

/** A message of a subscription. */
export interface SubscriptionMessage {
  readonly type: "eth_subscription";
  readonly data: { readonly subscription: string; readonly result: any };
}

/** The events of a {@link Provider} by name, with the argument of their listeners. */
export interface ProviderEvents {
  /** A gateway is connected and a head is known: requests are answered. */
  connect: { readonly chainId: string };
  /** No gateway is connected, or the provider has ended. Answers are as of the last head. */
  disconnect: RpcError;
  /** A result of a subscription by `eth_subscribe`. */
  message: SubscriptionMessage;
  /** A provider stays on one chain and has no accounts: these two never happen. */
  chainChanged: string;
  accountsChanged: readonly string[];
  /** An endpoint answered falsely. It is not asked again. */
  lie: LieEvent;
  /** A request was answered. */
  answer: { readonly method: string; readonly block: BlockId | null; readonly verified: boolean };
  /** Blocks whose logs a subscription does not have: read them with `eth_getLogs`. */
  missed: MissedEvent;
}

/** Blocks without their logs. */
export interface MissedEvent {
  /** Id of the subscription or filter. */
  readonly subscription: string;
  /**
   * The first and the last block, if `error` is set or the page was too slow; the blocks below and
   * above the missing ones if the chain went on above a gap.
   */
  readonly first: BlockId | null;
  readonly last: BlockId | null;
  /** Why the logs could not be read; `null` if the blocks themselves are missing. */
  readonly error: RpcError | null;
}

/** A provider as EIP-1193 describes it. Only {@link createProvider} makes them. */
export class Provider {
  private constructor();
  /** The observer that has the blocks. */
  readonly observer: Observer;
  /** Chain id in hexadecimal digits with `0x` in front. */
  readonly chainId: string;
  /** Whether a gateway is connected and a head is known. */
  isConnected(): boolean;
  /**
   * Resolves to the result of a JSON-RPC method.
   *
   * * Answered from gossip: `eth_chainId`, `net_version`, `eth_blockNumber`, `eth_syncing`, blocks and
   *   transactions of recent blocks.
   * * Answered by endpoints, and proved: `eth_getBalance`, `eth_getTransactionCount`, `eth_getCode`,
   *   `eth_getStorageAt`, `eth_getProof`, receipts, `eth_getLogs`, older blocks and transactions.
   * * `eth_subscribe` to `newHeads` and `logs`, and filters.
   * * `eth_sendRawTransaction` goes to the endpoints; the hash is computed here.
   *
   * All other methods are refused, unless {@link ReadOptions.unverified} lists them.
   *
   * @throws {RpcError}
   */
  request(args: RequestArguments, options?: RequestOptions): Promise<any>;
  /** Does the same, and also says which block was used and whether the answer is proved. */
  read(args: RequestArguments, options?: RequestOptions): Promise<Answer>;
  on<K extends keyof ProviderEvents>(event: K, listener: (detail: ProviderEvents[K]) => void): this;
  on(event: string, listener: (...details: any[]) => void): this;
  once<K extends keyof ProviderEvents>(event: K, listener: (detail: ProviderEvents[K]) => void): this;
  once(event: string, listener: (...details: any[]) => void): this;
  addListener(event: string, listener: (...details: any[]) => void): this;
  removeListener(event: string, listener: (...details: any[]) => void): this;
  off(event: string, listener: (...details: any[]) => void): this;
  removeAllListeners(event?: string): this;
  listenerCount(event: string): number;
  /** Ends the provider, and its observer unless it was given. May be called twice. */
  stop(): Promise<void>;
  /** Stops the provider at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>;
}
