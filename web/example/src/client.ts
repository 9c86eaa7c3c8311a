// An ordinary viem client with opp2p as its transport instead of a URL.

import type { Provider } from "opp2p/provider";
import { opp2p } from "opp2p/viem";
import { useEffect, useState } from "react";
import { createPublicClient, parseAbiItem, type Address, type PrivateKeyAccount } from "viem";

const query = new URLSearchParams(location.search);
const network = query.get("network") ?? "op-mainnet";

export const client = createPublicClient({
  transport: opp2p({
    // A rollup configuration in the page's address, or a built-in network.
    network,
    peers: query.getAll("peers"),
    rpc: query.getAll("rpc"),
    signer: query.get("signer"),
    // The next visit has a head at once.
    keep: true,
  }),
});

export const TRANSFER = parseAbiItem(
  "event Transfer(address indexed from, address indexed to, uint256 value)",
);
/** Gas of a transfer of the native currency. */
const TRANSFER_GAS = 21_000n;
/** Priority fee in wei per gas. */
const TIP = 1_000_000n;

/** Starts the node. Returns the provider once it runs, or the reason of a failure. */
export function useProvider(): { provider: Provider | null; failure: string | null } {
  const [state, setState] = useState<{ provider: Provider | null; failure: string | null }>({
    provider: null,
    failure: null,
  });
  useEffect(() => {
    client.transport.provider().then(
      (provider) => setState({ provider, failure: null }),
      (error: Error) => setState({ provider: null, failure: error.message }),
    );
  }, []);
  return state;
}

/** Signs a transfer with proved values, and sends it. Returns its hash. */
export async function send(account: PrivateKeyAccount, to: Address, value: bigint) {
  const [chainId, nonce, head] = await Promise.all([
    client.getChainId(),
    client.getTransactionCount({ address: account.address }),
    client.getBlock(),
  ]);
  const signed = await account.signTransaction({
    type: "eip1559",
    chainId,
    nonce,
    to,
    value,
    gas: TRANSFER_GAS,
    maxFeePerGas: 2n * (head.baseFeePerGas ?? 0n) + TIP,
    maxPriorityFeePerGas: TIP,
  });
  return client.sendRawTransaction({ serializedTransaction: signed });
}

