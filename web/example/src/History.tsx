// Token transfers to and from an address: old ones by `eth_getLogs`, new ones by subscription. Each
// log is proved by the receipts root of its block.

import type { Provider } from "opp2p/provider";
import { useHead } from "opp2p/react";
import { useEffect, useState } from "react";
import type { Address, Hash } from "viem";
import { client, TRANSFER } from "./client.js";
import { short, words } from "./text.js";

/** Number of blocks to read at once. */
const STEP = 100n;
/** Maximum number of transfers to show. */
const MOST = 100;

interface Transfer {
  readonly id: string;
  readonly block: bigint;
  readonly token: Address;
  readonly from: Address;
  readonly to: Address;
  readonly value: bigint;
  readonly transaction: Hash;
}

interface Log {
  readonly address: Address;
  readonly blockNumber: bigint;
  readonly blockHash: Hash;
  readonly logIndex: number;
  readonly transactionHash: Hash;
  readonly removed: boolean;
  readonly args: { from?: Address; to?: Address; value?: bigint };
}

const idOf = ({ blockHash, logIndex }: Log) => `${blockHash}${logIndex}`;

function merged(transfers: readonly Transfer[], logs: readonly Log[]): readonly Transfer[] {
  const all = new Map(transfers.map((transfer) => [transfer.id, transfer]));
  for (const log of logs) {
    const { from, to, value } = log.args;
    if (log.removed) all.delete(idOf(log));
    else if (from && to && value !== undefined) {
      const { address: token, blockNumber: block, transactionHash: transaction } = log;
      all.set(idOf(log), { id: idOf(log), block, token, from, to, value, transaction });
    }
  }
  return [...all.values()].sort((one, other) => Number(other.block - one.block)).slice(0, MOST);
}

export function History({ address, provider }: { address: Address; provider: Provider }) {
  const head = useHead(provider);
  const [transfers, setTransfers] = useState<readonly Transfer[]>([]);
  const [lowest, setLowest] = useState<bigint | null>(null);
  const [state, setState] = useState<{ isBusy: boolean; failure: string | null }>({ isBusy: false, failure: null });
  useEffect(() => {
    const onLogs = (logs: readonly unknown[]) => setTransfers((known) => merged(known, logs as Log[]));
    const ends = [{ from: address }, { to: address }].map((args) => client.watchEvent({ event: TRANSFER, args, onLogs }));
    return () => ends.forEach((end) => end());
  }, [address]);
  const older = async () => {
    const top = lowest === null ? BigInt(head!.number) : lowest - 1n;
    const fromBlock = top >= STEP ? top - STEP + 1n : 0n;
    setState({ isBusy: true, failure: null });
    try {
      const read = (args: { from: Address } | { to: Address }) =>
        client.getLogs({ event: TRANSFER, args, fromBlock, toBlock: top });
      const found = (await Promise.all([read({ from: address }), read({ to: address })])).flat();
      setTransfers((known) => merged(known, found as unknown as Log[]));
      setLowest(fromBlock);
      setState({ isBusy: false, failure: null });
    } catch (error) {
      setState({ isBusy: false, failure: words(error) });
    }
  };
  return (
    <section aria-labelledby="history">
      <h2 id="history">Transfers of tokens</h2>
      {transfers.length === 0 && <p className="note">None since {lowest === null ? "this page was opened" : `block ${lowest}`}</p>}
      <ol className="list">
        {transfers.map(({ id, block, token, from, to, value }) => (
          <li key={id}>
            <span>{block.toLocaleString("en")}</span>
            <span>
              {from.toLowerCase() === address.toLowerCase() ? `−${value} to ` : `+${value} from `}
              <code>{short(from.toLowerCase() === address.toLowerCase() ? to : from)}</code>
            </span>
            <code>{short(token)}</code>
          </li>
        ))}
      </ol>
      {head && (
        <button type="button" disabled={state.isBusy || lowest === 0n} onClick={older}>
          {state.isBusy ? "Reading …" : `Read ${STEP} ${lowest === null ? "newest" : "older"} blocks`}
        </button>
      )}
      {state.failure && <p className="trouble">{state.failure}</p>}
    </section>
  );
}
