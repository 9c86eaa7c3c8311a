// What a page or a program for Node.js may write, and what has to be an error.

import {
  inspect,
  observe,
  Observer,
  ObserverError,
  type Block,
  type ChainItem,
  type Head,
  type WasmSource,
} from "opp2p";
import { createProvider, type Answer, type Provider } from "opp2p/provider";
import { shared } from "opp2p/shared";
import { observe as observeInline } from "opp2p/inline";
import { observe as observeStatic } from "opp2p/static";
import "opp2p/worker.js";

const PEERS: ReadonlySet<string> = new Set(["x"]);

export async function types(signal: AbortSignal): Promise<void> {
  await using observer = await observe({
    network: 10n,
    peers: PEERS,
    signal,
    startTimeout: 3,
    maxGap: 5,
    onGap: "skip",
  });
  const head: Head = await observer.ready;
  for await (const block of observer.blocks) {
    const {
      number,
      gasUsed,
      blobGasUsed,
    }: { number: number; gasUsed: bigint; blobGasUsed: bigint | null } = block;
    console.log(
      head.number,
      number,
      gasUsed,
      blobGasUsed,
      JSON.stringify(block),
      await observer.decode(block),
      (await observer.getBlock(number))?.hash,
      (await observer.getBlock(block.parentHash)) ?? (await observer.getBlock(7n)),
    );
  }
  for await (const item of observer.follow({ signal, name: "x", maxBytes: 5 })) {
    const same: ChainItem = item;
    if (item.kind === "block") console.log(item.block.hash, same);
    else if (item.kind === "lost") console.log(item.count);
    else if (item.kind === "reorg") console.log(item.reorg.ancestor);
    else console.log(item.gap.missing, item.gap.id?.toFixed(), item.gap.detached === true);
  }
  const off: () => void = observer.on("status", ({ counters }) =>
    console.log(counters.rejected["x"]),
  );
  off();
  observer.addEventListener("block", (event) => {
    const block: Block = event.detail;
    console.log(block);
  });
  const target: EventTarget = observer;
  console.log(target);
  // @ts-expect-error There is no such event.
  observer.on("blok", () => {});
  // @ts-expect-error Snapshots are read-only.
  observer.head.number = 5;
  // @ts-expect-error This is neither a number nor a hash.
  await observer.getBlock("latest");
  // @ts-expect-error Only observe() makes observers.
  new Observer();
}

export async function reads(signal: AbortSignal): Promise<Provider> {
  await using provider = await createProvider({
    network: 10,
    peers: PEERS,
    rpc: "https://rpc.example",
    unverified: ["eth_call"],
    lag: { newest: 5 },
    worker: shared,
    keep: true,
  });
  const answer: Answer = await provider.read({ method: "eth_chainId" }, { signal });
  console.log(answer.block?.number, answer.verified, await provider.request({ method: "x", params: [1] }));
  provider.on("message", ({ data }) => console.log(data.subscription));
  provider.on("lie", ({ endpoint, method, part }) => console.log(endpoint, method, part));
  provider.once("disconnect", ({ code }) => console.log(code)).on("other", () => {});
  const observer = await observe({ network: 10, peers: PEERS, rpc: [], reads: { lag: { wait: 1 } } });
  // @ts-expect-error An observer has no further options.
  await createProvider({ observer, network: 10 });
  // @ts-expect-error There has to be an endpoint.
  await createProvider({ network: 10, peers: PEERS });
  return createProvider({ observer });
}

export async function options(wasm: WasmSource): Promise<string> {
  await observe({
    network: { id: 10, name: "OP Mainnet" } as const,
    peers: [],
    worker: false,
    wasm: new URL("x:y"),
  });
  await observe({
    network: { genesis: {}, block_time: 2, l2_chain_id: 3, more: 1 },
    peers: [],
    wasm: new Uint8Array(),
  });
  // @ts-expect-error This is not a network.
  await observe({ network: { name: "x" }, peers: [] });
  await observeStatic({ network: "base", peers: "x", wasm });
  await observeInline({ network: "base", peers: "x" });
  const report = await inspect("base", 4, new Uint8Array(), 1);
  // @ts-expect-error There is no such topic.
  await inspect("base", 5, new Uint8Array(), 1);
  try {
    return report.verdict;
  } catch (error) {
    if (error instanceof ObserverError && error.code === "timeout") return error.message;
    throw error;
  }
}
