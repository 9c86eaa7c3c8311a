/**
 * A transport for viem, in place of `http(url)`:
 *
 * ```ts
 * import { createPublicClient } from "viem";
 * import { optimism } from "viem/chains";
 * import { opp2p } from "opp2p/viem";
 *
 * const client = createPublicClient({
 *   chain: optimism,
 *   transport: opp2p({
 *     peers: "/dns4/gateway.example/tcp/443/wss/p2p/16Uiu2…",
 *     rpc: ["https://one.example", "https://other.example"],
 *   }),
 * });
 * ```
 *
 * @module
 */

import type { EIP1193RequestFn, Transport } from "viem";
import type { GivenObserverOptions, OwnObserverOptions, Provider } from "./provider.js";

/** Options of a provider. `network` defaults to the client's `chain`. */
export type TransportOptions =
  | GivenObserverOptions
  | (Omit<OwnObserverOptions, "network"> & Partial<Pick<OwnObserverOptions, "network">>);

/** Settings of viem's own transports. */
export interface TransportConfig {
  key?: string | undefined;
  name?: string | undefined;
  methods?: { include?: string[] | undefined } | { exclude?: string[] | undefined } | undefined;
}

/** A viem transport. Its `type` makes viem subscribe instead of polling. */
export type Opp2pTransport = Transport<
  "webSocket",
  {
    /** Resolves to the provider, and starts it if necessary. */
    provider(): Promise<Provider>;
    subscribe(args: {
      params: any;
      onData(data: any): void;
      onError?: ((error: any) => void) | undefined;
    }): Promise<{ subscriptionId: `0x${string}`; unsubscribe(): Promise<any> }>;
    /** Stops the provider that the transport has started. */
    stop(): Promise<void>;
  },
  EIP1193RequestFn
>;

/**
 * Creates a transport over a provider, or with options over a provider that the first request
 * starts. All clients of the transport share the provider.
 */
export function opp2p(
  options: TransportOptions | Provider,
  config?: TransportConfig,
): Opp2pTransport;
