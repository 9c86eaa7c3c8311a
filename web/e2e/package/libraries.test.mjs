// viem, ethers and React over the package, with a mock worker that answers reads: `node --test
// web/e2e/package/libraries.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BrowserProvider } from "ethers";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { createPublicClient, fallback, http } from "viem";
import { observe } from "../../js/index.js";
import { createProvider } from "../../js/provider.js";
import { useBlocks, useHead, useStatus } from "../../js/react.js";
import { opp2p } from "../../js/viem.js";
import { FIELDS, OPTIONS, RPC, Reading, block, failure, settles, until } from "./mock.mjs";

const ADDRESS = `0x${"22".repeat(20)}`;
const hex = (number) => `0x${number.toString(16)}`;

/** Answers of a node whose head is block 7. */
function answers(method, params) {
  if (method === "eth_chainId") return "0x1";
  if (method === "eth_blockNumber") return "0x7";
  if (method === "eth_getBalance") return "0x64";
  if (method === "eth_getLogs") return [log(params[0].blockHash ?? block(7).hash)];
  if (method === "eth_getBlockByNumber" || method === "eth_getBlockByHash") {
    const { number, hash, parentHash, timestamp, feeRecipient } = block(7);
    const shown = { number: hex(number), hash, parentHash, timestamp: hex(timestamp) };
    const rest = { difficulty: "0x0", gasLimit: "0x1", gasUsed: "0x1", baseFeePerGas: "0x1", size: "0x1" };
    return { ...FIELDS, ...shown, ...rest, miner: feeRecipient, nonce: "0x0000000000000000", transactions: [] };
  }
  return { error: { code: -32004, message: `${method} can't be verified` } };
}

const log = (blockHash) => ({
  address: ADDRESS,
  topics: [`0x${"00".repeat(32)}`],
  data: "0x",
  blockHash,
  blockNumber: "0x7",
  transactionHash: block(1).hash,
  transactionIndex: "0x0",
  logIndex: "0x0",
  removed: false,
});

/** Options of a provider on a mock worker. */
function options(network = "base") {
  const worker = new Reading(answers);
  return { worker, options: { ...OPTIONS, network, rpc: RPC, worker } };
}

test("a client of viem reads by the transport, and its errors are viem's", async () => {
  const { worker, options: given } = options();
  const client = createPublicClient({ transport: opp2p(given) });
  assert.equal(worker.got.length, 0, "the node starts with the first request");
  assert.equal(await client.getBalance({ address: ADDRESS }), 100n);
  assert.equal(await client.getBlockNumber(), 7n);
  assert.equal((await client.getBlock()).hash, block(7).hash);
  const error = await failure(client.getGasPrice());
  assert.equal(error.name, "MethodNotSupportedRpcError");
  assert.match(error.details, /eth_gasPrice can't be verified/);
  const asked = worker.reads.filter(([method]) => method === "eth_gasPrice");
  assert.equal(asked.length, 1, "a refusal is final");
  assert.equal((await client.transport.provider()).chainId, "0x1");
  await client.transport.stop();
  assert.equal(worker.terminated, 1);
});

test("a client of viem is told of blocks and logs as they arrive, without polling", async () => {
  const { worker, options: given } = options();
  const client = createPublicClient({ transport: opp2p(given), pollingInterval: 3_600_000 });
  const numbers = [];
  const logs = [];
  const onError = (error) => assert.fail(error);
  const unwatch = [
    client.watchBlockNumber({ onBlockNumber: (number) => numbers.push(number), onError }),
    client.watchEvent({ address: ADDRESS, onLogs: (found) => logs.push(...found), onError }),
  ];
  await until(() => worker.got.some(({ start }) => start));
  const provider = await client.transport.provider();
  await new Promise((resolve) => setTimeout(resolve, 20));
  worker.block(7);
  worker.block(8);
  await until(() => numbers.length === 2 && logs.length === 2);
  assert.deepEqual(numbers, [7n, 8n]);
  assert.deepEqual(logs.map(({ blockHash }) => blockHash), [block(7).hash, block(8).hash]);
  unwatch.forEach((end) => end());
  await until(() => provider.listenerCount("message") === 0);
  await client.transport.stop();
});

test("the transport takes the network from viem's chain, and refuses another chain", async () => {
  const chain = (id) => ({ id, name: "x", nativeCurrency: { name: "x", symbol: "x", decimals: 18 }, rpcUrls: { default: { http: [] } } });
  const { worker, options: { network: _, ...given } } = options();
  const client = createPublicClient({ chain: chain(1), transport: opp2p(given) });
  assert.equal(await client.getChainId(), 1);
  assert.equal(worker.got[0].start.node.network, "1");
  await client.transport.stop();
  const other = options();
  const wrong = createPublicClient({ chain: chain(10), transport: opp2p(other.options) });
  assert.match((await failure(wrong.getBlockNumber())).details, /on chain 1, the client on chain 10/);
  await wrong.transport.stop();
});

test("the transport works as one of several, and over a provider of the page", async () => {
  const { options: given } = options();
  const provider = await createProvider(given);
  const own = createPublicClient({ transport: opp2p(provider) });
  assert.equal(await own.getBlockNumber(), 7n);
  const several = createPublicClient({ transport: fallback([opp2p(provider), http("http://127.0.0.1:9")]) });
  assert.equal(await several.getBalance({ address: ADDRESS }), 100n);
  await provider.stop();
});

test("a start that fails rejects the request, and the next one tries again", async () => {
  let attempts = 0;
  const { worker, options: given } = options();
  const client = createPublicClient({
    transport: opp2p({
      ...given,
      worker: () => {
        if ((attempts += 1) === 1) throw new Error("not yet");
        return worker;
      },
    }),
  });
  assert.match((await failure(client.getBlockNumber())).details, /not yet/);
  assert.equal(await client.getBlockNumber(), 7n);
  await client.transport.stop();
});

test("ethers reads and is told of logs by the provider", async () => {
  const { worker, options: given } = options();
  const own = await createProvider(given);
  const ethers = new BrowserProvider(own, 1, { cacheTimeout: -1 });
  assert.equal(await ethers.getBalance(ADDRESS), 100n);
  assert.equal((await ethers.getBlock("latest")).hash, block(7).hash);
  assert.deepEqual(await ethers.listAccounts(), []);
  const error = await failure(ethers.send("eth_gasPrice", []));
  assert.equal(error.error.code, -32004, error.message);
  const filter = await ethers.send("eth_newFilter", [{ address: ADDRESS }]);
  worker.block(7);
  let changes = [];
  for (let round = 0; round < 1000 && changes.length === 0; round++)
    changes = await ethers.send("eth_getFilterChanges", [filter]);
  assert.equal(changes[0].blockHash, block(7).hash);
  ethers.destroy();
  await own.stop();
});

test("React's hooks give stable snapshots, and nothing before there is an observer", async () => {
  const seen = [];
  const Show = ({ source }) => {
    seen.push([useHead(source), useStatus(source), useBlocks(source, 3)]);
    return null;
  };
  renderToString(createElement(Show, { source: null }));
  assert.deepEqual(seen.pop(), [null, null, []]);
  const { options: given } = options();
  const observer = await observe({ ...given, reads: {} });
  renderToString(createElement(Show, { source: observer }));
  assert.deepEqual(seen.pop(), [null, null, []], "a server shows nothing");
  assert.throws(() => renderToString(createElement(() => useBlocks(observer, 0))), RangeError);
  await settles(observer.stop(), "stop()");
});
