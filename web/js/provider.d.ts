/**
 * An EIP-1193 provider that does not trust JSON-RPC endpoints: gossip delivers the newest block,
 * and each answer of an endpoint is verified against it.
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

/** Options of {@link createProvider} for a provider that starts its own observer. */
export interface OwnObserverOptions extends Omit<ObserveOptions, "reads" | "rpc">, ReadOptions {
  /**
   * JSON-RPC endpoints of the chain, 1 to 8. They are not trusted: each answer must be proved. They
   * have to allow the page (CORS), and the page's content-security policy has to allow them
   * (`connect-src`).
   */
  rpc: string | Iterable<string>;
  observer?: undefined;
}

/** Options of {@link createProvider} for a running observer. */
export interface GivenObserverOptions {
  /** An observer that was started with {@link ObserveOptions.reads}. It outlives the provider. */
  observer: Observer;
}

export type ProviderOptions = OwnObserverOptions | GivenObserverOptions;

/**
 * Starts a provider. Resolves as soon as its node runs; requests wait up to 25 seconds for the
 * first head.
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

/** An answer with its block. */
export interface Answer {
  readonly result: any;
  /**
   * The block that the answer refers to, or `null` if it depends on no block. If endpoints lag
   * behind gossip, it can be older than the head; see {@link ReadOptions.lag}.
   */
  readonly block: BlockId | null;
  /** `false` for methods of {@link ReadOptions.unverified}: an endpoint's unverified answer. */
  readonly verified: boolean;
}

/** An error of EIP-1193 or JSON-RPC. */
export class RpcError extends Error {
  readonly name: "ProviderRpcError";
  /**
   * 4200: the method needs a wallet. 4900: the provider or its observer has ended, or no gateway is
   * connected. The others are JSON-RPC's.
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
  /** A gateway is connected and a head is known. */
  connect: { readonly chainId: string };
  /**
   * No gateway is connected, or the provider or its observer has ended. `latest` stays at the last
   * head.
   */
  disconnect: RpcError;
  /** A result of a subscription by `eth_subscribe`. */
  message: SubscriptionMessage;
  /** Never happens: a provider stays on one chain. */
  chainChanged: string;
  /** Never happens: a provider has no accounts. */
  accountsChanged: readonly string[];
  /** An endpoint gave a false answer. It is not asked again. */
  lie: LieEvent;
  /** A request was answered. */
  answer: { readonly method: string; readonly block: BlockId | null; readonly verified: boolean };
  /** A subscription lacks the logs of some blocks. Read them with `eth_getLogs`. */
  missed: MissedEvent;
}

/** Blocks whose logs a subscription lacks. */
export interface MissedEvent {
  /** Id of the subscription or filter. */
  readonly subscription: string;
  /**
   * The first and the last block without logs. After a gap in the chain, they are the blocks just
   * below and above the gap.
   */
  readonly first: BlockId | null;
  readonly last: BlockId | null;
  /** Why the logs could not be read, or `null` if the blocks themselves are missing. */
  readonly error: RpcError | null;
}

/** An EIP-1193 provider. {@link createProvider} creates it. */
export class Provider {
  private constructor();
  /** The observer that delivers the blocks. */
  readonly observer: Observer;
  /** Chain id in hexadecimal, with `0x`. */
  readonly chainId: string;
  /** Whether a gateway is connected and a head is known. */
  isConnected(): boolean;
  /**
   * Resolves to the result of a JSON-RPC method.
   *
   * * From gossip: `eth_chainId`, `net_version`, `eth_blockNumber`, `eth_syncing`, blocks and
   *   transactions of recent blocks.
   * * From endpoints, proved: `eth_getBalance`, `eth_getTransactionCount`, `eth_getCode`,
   *   `eth_getStorageAt`, `eth_getProof`, receipts, `eth_getLogs`, older blocks and transactions.
   * * Executed in the page over proved state: `eth_call`, `eth_estimateGas`,
   *   `eth_createAccessList`, without overrides. The first call loads a second WebAssembly module.
   *   A reverted call rejects with the code 3 and the contract's `data`.
   * * `eth_subscribe` to `newHeads` and `logs`, and filters.
   * * `eth_sendRawTransaction` goes to all endpoints. The hash is computed locally.
   *
   * Other methods are refused, unless {@link ReadOptions.unverified} lists them.
   *
   * @throws {RpcError}
   */
  request(args: RequestArguments, options?: RequestOptions): Promise<any>;
  /** Like `request`, but also returns the block, and whether the answer is verified. */
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
  /** Stops the provider, and its observer unless it was an option. May be called repeatedly. */
  stop(): Promise<void>;
  /** Stops the provider at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>;
}
