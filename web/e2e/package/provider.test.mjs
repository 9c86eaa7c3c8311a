// The provider, with a mock worker that answers reads: `node --test
// web/e2e/package/provider.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { observe } from "../../js/index.js";
import { Provider, RpcError, createProvider } from "../../js/provider.js";
import { opp2p } from "../../js/viem.js";
import { FIELDS, MockWorker, OPTIONS, RPC, Reading, block, failure, root, settles, until } from "./mock.mjs";

const HASH = (number) => block(number).hash;

/** Starts a provider on a mock worker. */
async function started(answers, { isHeadless } = {}) {
  const worker = new Reading(answers, isHeadless);
  const provider = await createProvider({ ...OPTIONS, rpc: RPC, worker });
  await new Promise((resolve) => setTimeout(resolve));
  return { worker, provider };
}

test("a request goes to the node with its parameters, and its result comes back", async () => {
  const { worker, provider } = await started((method, params) => ({ method, params }));
  for (const params of [undefined, [], ["0x1", "latest"], { a: 1 }]) {
    const result = await provider.request({ method: "eth_getBalance", params });
    assert.deepEqual(result, { method: "eth_getBalance", params: params ?? [] });
  }
  assert.deepEqual(worker.got[0].start.node.rpc, RPC);
  assert.equal(provider.chainId, "0x1");
  await provider.stop();
  assert.equal(worker.terminated, 1, "its observer ends with it");
});

test("read() says which block was used, and whether the answer is proved", async () => {
  const { worker, provider } = await started();
  const id = { number: 7, hash: HASH(7) };
  worker.act = (message) =>
    message.ask
      ? worker.says({
          answered: { id: message.ask.id, value: { result: "0x5", block: id, verified: false } },
        })
      : MockWorker.starts(message, worker);
  const heard = [];
  provider.on("answer", (answer) => heard.push(answer));
  const answer = await provider.read({ method: "eth_gasPrice" });
  assert.deepEqual(answer, { result: "0x5", block: id, verified: false });
  assert.deepEqual(heard, [{ method: "eth_gasPrice", block: id, verified: false }]);
  await provider.stop();
});

test("errors have the codes of EIP-1193 and JSON-RPC", async () => {
  const refusal = { code: -32004, message: "can't be proved", data: { method: "x" } };
  const { worker, provider } = await started(() => ({ error: refusal }));
  const fails = async (...given) => {
    const error = await failure(provider.request(...given));
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.name, "ProviderRpcError");
    return error;
  };
  const refused = await fails({ method: "debug_x" });
  assert.deepEqual([refused.code, refused.message, refused.data], [-32004, "can't be proved", { method: "x" }]);
  for (const wrong of [undefined, null, {}, { method: "" }, { method: 7 }, { method: "x", params: 5 }])
    assert.equal((await fails(wrong)).code, -32600, JSON.stringify(wrong));
  assert.equal((await fails({ method: "x" }, { signal: {} })).code, -32600);
  for (const wrong of [[1n], ["0x".padEnd(1 << 20, "0")]])
    assert.equal((await fails({ method: "x", params: wrong })).code, -32602);
  for (const method of ["eth_sendTransaction", "eth_sign", "eth_signTypedData_v4", "personal_sign", "wallet_switchEthereumChain", "eth_requestAccounts"])
    assert.equal((await fails({ method })).code, 4200, method);
  assert.deepEqual(await provider.request({ method: "eth_accounts" }), []);
  assert.deepEqual(worker.reads.map(([method]) => method), ["debug_x"]);
  await provider.stop();
  assert.equal((await fails({ method: "eth_chainId" })).code, 4900);
  assert.equal((await fails({ method: "eth_accounts" })).code, 4900);
});

test("a request that the node has not answered fails when the node ends", async () => {
  const { worker, provider } = await started(() => undefined);
  const waiting = failure(provider.request({ method: "eth_getCode" }));
  await until(() => worker.reads.length === 1);
  await provider.stop();
  assert.equal((await settles(waiting, "request()")).code, 4900);
});

test("an aborted request ends at once, and the node learns of it", async () => {
  const { worker, provider } = await started(() => undefined);
  const control = new AbortController();
  const waiting = failure(provider.request({ method: "eth_getCode" }, { signal: control.signal }));
  await until(() => worker.reads.length === 1);
  const reason = new Error("enough");
  control.abort(reason);
  assert.equal(await settles(waiting, "request()"), reason);
  await until(() => worker.cancelled.length === 1);
  assert.equal(await failure(provider.request({ method: "x" }, { signal: control.signal })), reason);
  assert.equal(worker.reads.length, 1, "what is aborted before is not asked");
  await provider.stop();
});

test("a provider is connected from its first head on", async () => {
  const { worker, provider } = await started(() => "0x1", { isHeadless: true });
  assert.equal(provider.isConnected(), false);
  const connected = [];
  provider.on("connect", (info) => connected.push(info));
  worker.head(5);
  worker.head(6);
  assert.deepEqual([connected, provider.isConnected()], [[{ chainId: "0x1" }], true]);
  await provider.stop();
});

test("how reads are answered is checked and handed to the node", async () => {
  const starts = async (options) => {
    const worker = new Reading();
    const provider = await createProvider({ ...OPTIONS, rpc: RPC, worker, ...options });
    await provider.stop();
    return worker.got[0].start.node.reads;
  };
  assert.deepEqual(await starts({}), { unverified: [] });
  assert.deepEqual(await starts({ unverified: new Set(["eth_gasPrice"]), lag: { newest: 5 } }), {
    unverified: ["eth_gasPrice"],
    newest: 5,
  });
  assert.deepEqual(await starts({ unverified: "eth_call", lag: { wait: 0.5 } }), {
    unverified: ["eth_call"],
    wait: 0.5,
  });
  for (const wrong of [
    { rpc: [] },
    { rpc: undefined },
    { unverified: 5 },
    { unverified: [5] },
    { lag: "wait" },
    { lag: {} },
    { lag: { wait: "5" } },
    { lag: { wait: 5, newest: 5 } },
    { lag: { never: 5 } },
    { reads: {} },
    { typo: 1 },
  ])
    assert.equal((await failure(starts(wrong))).code, "option", JSON.stringify(wrong));
  const without = new MockWorker();
  await (await observe({ ...OPTIONS, worker: without })).stop();
  assert.equal("reads" in without.got[0].start.node, false);
});

test("`connect` and `disconnect` follow the gateways", async () => {
  const { worker, provider } = await started();
  const heard = [];
  provider.on("connect", ({ chainId }) => heard.push(chainId));
  provider.on("disconnect", ({ code }) => heard.push(code));
  const trouble = (kind) => ({ kind, text: "", remedy: "", since: 1, last: 1 });
  worker.tell("trouble", trouble("gap"));
  worker.tell("trouble", trouble("no_peers"));
  worker.head(2);
  worker.tell("trouble-ended", trouble("no_peers"));
  assert.deepEqual(heard, [4900, "0x1"]);
  assert.equal(provider.isConnected(), true);
  await provider.stop();
  assert.deepEqual(heard, [4900, "0x1", 4900]);
  assert.equal(provider.isConnected(), false);
});

test("a lie is told with its endpoint, its method and its false part", async () => {
  const { worker, provider } = await started();
  const lies = [];
  provider.on("lie", (lie) => lies.push(lie));
  const lie = { endpoint: "rpc.example", method: "eth_getProof", part: "balance" };
  worker.tell("lie", lie);
  assert.deepEqual(lies, [lie]);
  await provider.stop();
});

test("listeners are added and removed as those of Node.js, and one that throws stops no other", async () => {
  const { worker, provider } = await started();
  const heard = [];
  const thrown = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (act) => {
    try {
      act();
    } catch (error) {
      thrown.push(error.message);
    }
  };
  const listener = () => heard.push("on");
  provider.once("lie", () => {
    heard.push("once");
    throw new Error("the listener's own");
  });
  assert.equal(provider.on("lie", listener), provider);
  provider.on("lie", listener).addListener("lie", listener);
  worker.tell("lie", {});
  globalThis.queueMicrotask = queueMicrotask;
  provider.removeListener("lie", listener).off("lie", listener);
  worker.tell("lie", {});
  assert.equal(provider.listenerCount("lie"), 1);
  provider.removeAllListeners("lie");
  worker.tell("lie", {});
  assert.deepEqual(heard, ["once", "on", "on", "on", "on"]);
  assert.deepEqual(thrown, ["the listener's own"]);
  assert.throws(() => provider.on("lie", {}), TypeError);
  await provider.stop();
});

test("a listener that is called once leaves other registrations of its function in place", async () => {
  const { worker, provider } = await started();
  let count = 0;
  const listener = () => (count += 1);
  provider.once("lie", listener).on("lie", listener);
  worker.tell("lie", {});
  assert.deepEqual([count, provider.listenerCount("lie")], [2, 1]);
  worker.tell("lie", {});
  worker.tell("lie", {});
  assert.deepEqual([count, provider.listenerCount("lie")], [4, 1]);
  await provider.stop();
});

test("new heads arrive as messages with every field of a header", async () => {
  const { worker, provider } = await started();
  const messages = [];
  provider.on("message", (message) => messages.push(message));
  const subscription = await provider.request({ method: "eth_subscribe", params: ["newHeads"] });
  worker.block(17);
  worker.block(18, { requestsHash: root("ff"), excessBlobGas: "5" });
  assert.deepEqual(messages.map(({ type, data }) => [type, data.subscription]), [
    ["eth_subscription", subscription],
    ["eth_subscription", subscription],
  ]);
  const [first, second] = messages.map(({ data }) => data.result);
  assert.deepEqual(first, {
    number: "0x11",
    hash: HASH(17),
    parentHash: HASH(16),
    nonce: "0x0000000000000000",
    sha3Uncles: "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    logsBloom: FIELDS.logsBloom,
    transactionsRoot: root("aa"),
    stateRoot: root("bb"),
    receiptsRoot: root("cc"),
    miner: `0x${"11".repeat(20)}`,
    difficulty: "0x0",
    extraData: "0x",
    gasLimit: "0x1c9c380",
    gasUsed: "0xffffffffffffffff",
    timestamp: `0x${(1_750_000_034).toString(16)}`,
    mixHash: block(7).hash,
    baseFeePerGas: "0x1",
    withdrawalsRoot: root("dd"),
    blobGasUsed: "0x0",
    parentBeaconBlockRoot: root("ee"),
  });
  assert.deepEqual([second.requestsHash, second.excessBlobGas], [root("ff"), "0x5"]);
  assert.equal(await provider.request({ method: "eth_unsubscribe", params: [subscription] }), true);
  assert.equal(await provider.request({ method: "eth_unsubscribe", params: [subscription] }), false);
  worker.block(19);
  assert.equal(messages.length, 2);
  assert.equal((await failure(provider.request({ method: "eth_subscribe", params: ["newPendingTransactions"] }))).code, -32602);
  await provider.stop();
});

const ADDRESS = `0x${"22".repeat(20)}`;

/** Answers reads with two logs in each block. */
const logsOf = (method, [{ blockHash }]) =>
  method === "eth_getLogs" ? [0, 1].map((index) => ({ blockHash, logIndex: `0x${index}` })) : null;

test("logs are read block by block, in order, and taken back by a reorg", async () => {
  const { worker, provider } = await started(logsOf);
  const told = [];
  provider.on("message", ({ data: { result } }) =>
    told.push([Number(BigInt(result.blockHash)), Number(result.logIndex), result.removed === true]),
  );
  const filter = { address: ADDRESS, topics: [null, [root("01"), root("02")]], fromBlock: "0x1" };
  await provider.request({ method: "eth_subscribe", params: ["logs", filter] });
  for (const number of [5, 6, 7]) worker.block(number);
  const reorg = { ancestor: { number: 5, hash: HASH(5) }, abandoned: [], adopted: [] };
  worker.tell("reorg", reorg);
  worker.block(6, { hash: HASH(106) });
  await until(() => told.length === 12);
  assert.deepEqual(told, [
    [5, 0, false],
    [5, 1, false],
    [6, 0, false],
    [6, 1, false],
    [7, 0, false],
    [7, 1, false],
    [7, 1, true],
    [7, 0, true],
    [6, 1, true],
    [6, 0, true],
    [106, 0, false],
    [106, 1, false],
  ]);
  assert.deepEqual(worker.reads[0], [
    "eth_getLogs",
    [{ address: ADDRESS, topics: filter.topics, blockHash: HASH(5) }],
  ]);
  await provider.stop();
});

/** A gap of a chain that goes on at another block, as the node reports it. */
const skipped = (after, before, missing) => ({
  id: null,
  state: "skipped",
  after: { number: after, hash: HASH(after) },
  before: { number: before, hash: HASH(before) },
  missing,
  reason: "x",
  detached: false,
});

test("logs are taken back if the chain goes on at a lower height", async () => {
  const { worker, provider } = await started(logsOf);
  const told = [];
  const missed = [];
  provider.on("message", ({ data: { result } }) =>
    told.push([Number(BigInt(result.blockHash)), result.removed === true]),
  );
  provider.on("missed", ({ first, last }) => missed.push([first.number, last.number]));
  await provider.request({ method: "eth_subscribe", params: ["logs", {}] });
  for (const number of [8, 9, 10]) worker.block(number);
  worker.tell("gap", skipped(10, 9, 0));
  worker.block(9, { hash: HASH(109) });
  // Here block 9 is on the branch that was left, and the one in its place is missing.
  worker.tell("gap", skipped(8, 10, 1));
  worker.block(10, { hash: HASH(110) });
  await until(() => told.length === 16);
  const pair = (number, removed) => [[number, removed], [number, removed]];
  assert.deepEqual(told, [
    ...[8, 9, 10].flatMap((number) => pair(number, false)),
    ...[10, 9].flatMap((number) => pair(number, true)),
    ...pair(109, false),
    ...pair(109, true),
    ...pair(110, false),
  ]);
  assert.deepEqual(missed, [[8, 10]], "no block is missing in the first gap");
  await provider.stop();
});

test("a block whose logs can't be read is reported, and the next ones go on", async () => {
  let refused = 0;
  const error = { code: -32000, message: "no endpoint answers" };
  const { worker, provider } = await started((method, [{ blockHash }]) =>
    blockHash === HASH(6) || (blockHash === HASH(7) && (refused += 1) === 1) ? { error } : [{ blockHash }],
  );
  const told = [];
  const missed = [];
  provider.on("message", ({ data }) => told.push(Number(BigInt(data.result.blockHash))));
  provider.on("missed", (detail) => missed.push(detail));
  const subscription = await provider.request({ method: "eth_subscribe", params: ["logs"] });
  for (const number of [5, 6, 7]) worker.block(number);
  await until(() => told.length === 2);
  assert.deepEqual(told, [5, 7], "the second attempt at block 7 succeeds");
  assert.equal(missed.length, 1);
  const [{ first, last, error: why }] = missed;
  const id = { number: 6, hash: HASH(6) };
  assert.deepEqual([missed[0].subscription, first, last, why.message], [subscription, id, id, error.message]);
  await provider.stop();
});

test("filters hold what came since they were last asked", async () => {
  const { worker, provider } = await started((method, [{ blockHash }]) => [{ blockHash: blockHash ?? "all" }]);
  const ask = (method, ...params) => provider.request({ method, params });
  const blocks = await ask("eth_newBlockFilter");
  const logs = await ask("eth_newFilter", { address: [ADDRESS], fromBlock: "0x1" });
  worker.block(5);
  worker.block(6);
  await until(() => worker.reads.length === 2);
  assert.deepEqual(await ask("eth_getFilterChanges", blocks), [HASH(5), HASH(6)]);
  assert.deepEqual(await ask("eth_getFilterChanges", blocks), []);
  await until(() => worker.reads.length === 2);
  assert.deepEqual(await ask("eth_getFilterChanges", logs), [{ blockHash: HASH(5) }, { blockHash: HASH(6) }]);
  assert.deepEqual(await ask("eth_getFilterLogs", logs), [{ blockHash: "all" }]);
  assert.deepEqual(worker.reads.at(-1), ["eth_getLogs", [{ address: [ADDRESS], fromBlock: "0x1" }]]);
  assert.equal((await failure(ask("eth_getFilterLogs", blocks))).code, -32602);
  assert.equal(await ask("eth_unsubscribe", blocks), false, "a filter is not a subscription");
  assert.equal(await ask("eth_uninstallFilter", blocks), true);
  const gone = await failure(ask("eth_getFilterChanges", blocks));
  assert.deepEqual([gone.code, gone.message], [-32000, "filter not found"]);
  await provider.stop();
});

test("filters that can't be used are refused, and there is a bound on subscriptions", async () => {
  const { provider } = await started();
  const ask = (method, ...params) => provider.request({ method, params });
  for (const wrong of [
    5,
    [],
    { address: "0x1" },
    { address: [ADDRESS, 7] },
    { topics: "x" },
    { topics: ["0x1"] },
    { topics: [null, null, null, null, null] },
    { topics: [[root("01"), "0x"]] },
    { address: Array(1001).fill(ADDRESS) },
  ]) {
    assert.equal((await failure(ask("eth_subscribe", "logs", wrong))).code, -32602, JSON.stringify(wrong).slice(0, 80));
    assert.equal((await failure(ask("eth_newFilter", wrong))).code, -32602);
  }
  const ids = [];
  for (let count = 0; count < 128; count++) ids.push(await ask("eth_subscribe", "newHeads"));
  assert.equal(new Set(ids).size, 128);
  assert.equal((await failure(ask("eth_newBlockFilter"))).code, -32005);
  await ask("eth_unsubscribe", ids[0]);
  await ask("eth_newBlockFilter");
  await provider.stop();
});

test("a filter that grows too long is removed", async () => {
  const many = Array.from({ length: 4000 }, () => ({}));
  const { worker, provider } = await started((method) => (method === "eth_getLogs" ? many : null));
  const ask = (method, ...params) => provider.request({ method, params });
  const logs = await ask("eth_newFilter", {});
  for (const number of [5, 6, 7]) worker.block(number);
  await until(() => worker.reads.length === 3);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await failure(ask("eth_getFilterChanges", logs))).message, "filter not found");
  await provider.stop();
});

test("a provider over an observer of the page leaves it running", async () => {
  const worker = new Reading(() => "0x7");
  const observer = await observe({ ...OPTIONS, rpc: RPC, worker, reads: { unverified: ["eth_gasPrice"] } });
  const provider = await createProvider({ observer });
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(provider.observer, observer);
  assert.equal(await provider.request({ method: "eth_gasPrice" }), "0x7");
  await provider.stop();
  assert.equal(observer.stopped, false);
  const second = await createProvider({ observer });
  await observer.stop();
  assert.equal((await failure(second.request({ method: "eth_gasPrice" }))).code, 4900);
  for (const wrong of [
    undefined,
    null,
    { observer: {} },
    { observer, lag: { wait: 1 } },
    { observer, network: "base" },
  ])
    assert.equal((await failure(createProvider(wrong))).code, "option", JSON.stringify(Object.keys(wrong ?? {})));
  const without = await observe({ ...OPTIONS, worker: new MockWorker() });
  assert.equal((await failure(createProvider({ observer: without }))).code, "option");
  await without.stop();
  assert.throws(() => new Provider(), TypeError);
});

test("a provider learns that its observer has ended, and tells it once", async () => {
  for (const ends of [
    ({ worker }) => worker.fails("out of memory"),
    ({ worker }) => worker.tell("crashed", "unreachable"),
    ({ control }) => control.abort(),
    ({ provider }) => void provider.observer.stop(),
    ({ provider }) => void provider.stop(),
  ]) {
    const worker = new Reading();
    const control = new AbortController();
    const provider = await createProvider({ ...OPTIONS, rpc: RPC, worker, signal: control.signal });
    await new Promise((resolve) => setTimeout(resolve));
    const heard = [];
    provider.on("connect", () => heard.push("connect"));
    provider.on("disconnect", ({ code }) => {
      heard.push(code, provider.isConnected());
      void provider.stop();
    });
    // As viem's watchers subscribe.
    const { value } = opp2p(provider)({});
    const watch = (name) =>
      value.subscribe({ params: ["newHeads"], onData: () => {}, onError: ({ code }) => heard.push(name, code) });
    await watch("watcher");
    const left = await watch("one that has left");
    await left.unsubscribe();
    assert.equal(provider.isConnected(), true);
    ends({ worker, control, provider });
    assert.equal(provider.isConnected(), false);
    await until(() => worker.terminated === 1);
    assert.deepEqual(heard, [4900, false, "watcher", 4900]);
    assert.equal((await failure(provider.request({ method: "eth_chainId" }))).code, 4900);
  }
});

test("a provider that has stopped does not wait for the end of its observer", async () => {
  const observer = await observe({ ...OPTIONS, rpc: RPC, worker: new Reading(), reads: {} });
  const provider = await createProvider({ observer });
  await new Promise((resolve) => setTimeout(resolve));
  const codes = [];
  provider.on("disconnect", ({ code }) => codes.push(code));
  await provider.stop();
  await observer.stop();
  assert.deepEqual(codes, [4900]);
  const late = await createProvider({ observer });
  assert.equal(late.isConnected(), false);
});
