// A running observer: blocks, iterators, snapshots and events, with a worker of the test: `node --test
// web/e2e/package/observer.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { feedOf } from "../../js/feed.js";
import { Observer, observe } from "../../js/index.js";
import { block, failure, payload, settles, started } from "./mock.mjs";

const TRANSACTIONS = [new Uint8Array([0x7e, 1, 2]), new Uint8Array([2, 3])];

/** Reports blocks with payloads of some more bytes. */
function report(worker, from, to, extra = 0) {
  for (let number = from; number <= to; number++)
    worker.tell("block", block(number), payload(TRANSACTIONS, extra));
}

/** Steps that were asked for and have not come. */
const pending = new WeakMap();

/** Takes what an iterator has, without waiting for more. */
async function taken(iterator) {
  const items = [];
  for (;;) {
    const next = pending.get(iterator) ?? iterator.next();
    pending.set(iterator, next);
    const step = await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 20))]);
    if (step === undefined) return items;
    pending.delete(iterator);
    if (step.done) return items;
    items.push(step.value);
  }
}

test("a block can't be changed by one listener for the others", async () => {
  const { worker, observer } = await started(observe);
  const seen = [];
  observer.on("block", (block) => {
    block.payload.fill(0);
    block.transactions[0].fill(0);
    structuredClone(block.payload, { transfer: [block.payload.buffer] });
    assert.throws(() => (block.number = 5), TypeError);
    assert.throws(() => block.transactionHashes.push("0x"), TypeError);
    seen.push(block);
  });
  observer.on("block", (block) => seen.push(block));
  report(worker, 1, 1);
  assert.equal(seen[0], seen[1]);
  assert.deepEqual(seen[1].payload, payload(TRANSACTIONS));
  assert.deepEqual(seen[1].transactions, TRANSACTIONS);
  await observer.stop();
});

test("a block keeps everything through JSON, structuredClone and spreading", async () => {
  const { worker, observer } = await started(observe);
  const blocks = [];
  observer.on("block", (block) => blocks.push(block));
  report(worker, 1, 1);
  const [shown] = blocks;
  assert.deepEqual(
    [shown.gasUsed, shown.blobGasUsed, shown.excessBlobGas],
    [18446744073709551615n, 0n, null],
  );
  assert.deepEqual([shown.size, shown.payloadSize], [4321, payload(TRANSACTIONS).length]);
  assert.deepEqual(
    [shown.miner, shown.mixHash, shown.difficulty],
    [shown.feeRecipient, shown.prevRandao, 0n],
  );
  for (const copy of [structuredClone(shown), { ...shown }]) {
    assert.deepEqual(copy.transactions, TRANSACTIONS);
    assert.deepEqual(copy.payload, shown.payload);
    assert.equal(copy.gasUsed, shown.gasUsed);
  }
  const json = JSON.parse(JSON.stringify(shown));
  assert.deepEqual(json.transactions, ["0x7e0102", "0x0203"]);
  assert.deepEqual(
    [json.gasUsed, json.hash, json.excessBlobGas, "payload" in json],
    ["18446744073709551615", shown.hash, null, false],
  );
  await observer.stop();
});

test("a slow iterator loses the oldest blocks, learns it once, and sees a mark in their place", async () => {
  const { worker, observer } = await started(observe);
  const errors = [];
  observer.on("error", (error) => errors.push(error));
  const slow = observer.follow({ name: "slow", maxBlocks: 3 })[Symbol.asyncIterator]();
  const quick = observer.follow()[Symbol.asyncIterator]();
  const plain = observer.blocks[Symbol.asyncIterator]();
  report(worker, 1, 2);
  worker.tell("reorg", { ancestor: { number: 0, hash: "0x" }, abandoned: [], adopted: [] });
  report(worker, 3, 10);
  const items = await taken(slow);
  assert.deepEqual(
    items.map(({ kind, block }) => [kind, block?.number]),
    [
      ["lost", undefined],
      ["block", 8],
      ["block", 9],
      ["block", 10],
    ],
  );
  const [{ count, first, last, marks }] = items;
  assert.deepEqual([count, first.number, last.number, marks], [7, 1, 7, 1]);
  assert.equal(errors.length, 1, "not one error for each block");
  assert.deepEqual([errors[0].code, errors[0].iterator], ["lagging", "slow"]);
  assert.match(errors[0].message, /"slow".*from block 1 on/);
  assert.deepEqual(
    (await taken(quick)).map(({ kind, block }) => block?.number ?? kind),
    [1, 2, "reorg", 3, 4, 5, 6, 7, 8, 9, 10],
  );
  assert.deepEqual(
    (await taken(plain)).map(({ number }) => number),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  // It has caught up: the next loss is another one.
  for (const iterator of [slow, quick, plain]) iterator.return();
  const again = observer.follow({ maxBlocks: 1 })[Symbol.asyncIterator]();
  for (const round of [1, 2]) {
    report(worker, 10 * round, 10 * round + 5);
    const waited = round === 1 ? [] : [10 * round];
    assert.deepEqual(
      (await taken(again)).map(({ kind, block }) => block?.number ?? kind),
      [...waited, "lost", 10 * round + 5],
    );
    assert.equal(errors.length, 1 + round);
  }
  await observer.stop();
});

test("an iterator's queue is bounded in bytes, and the newest block is always kept", async () => {
  const { worker, observer } = await started(observe);
  const few = observer.follow({ maxBytes: 2500 })[Symbol.asyncIterator]();
  report(worker, 1, 5, 500);
  assert.deepEqual(
    (await taken(few)).map(({ kind, block }) => block?.number ?? kind),
    ["lost", 4, 5],
  );
  // The iterator waits for the first of these, and gets it at once.
  report(worker, 6, 8, 5000);
  assert.deepEqual(
    (await taken(few)).map(({ kind, block }) => block?.number ?? kind),
    [6, "lost", 8],
  );
  await observer.stop();
});

test("an iterator of blocks has the default bounds, and reports lost blocks", async () => {
  const { worker, observer } = await started(observe);
  const errors = [];
  observer.on("error", (error) => errors.push(error));
  const blocks = observer.blocks[Symbol.asyncIterator]();
  report(worker, 1, 300);
  const shown = await taken(blocks);
  assert.deepEqual([shown.length, shown[0].number, shown.at(-1).number], [256, 45, 300]);
  assert.deepEqual(
    errors.map(({ code, iterator }) => [code, iterator]),
    [["lagging", null]],
  );
  await observer.stop();
});

test("marks for reorgs and skipped gaps come between the blocks; iterators of blocks have none", async () => {
  const { worker, observer } = await started(observe);
  const items = observer.follow()[Symbol.asyncIterator]();
  const blocks = observer.blocks[Symbol.asyncIterator]();
  report(worker, 1, 1);
  worker.tell("gap", {
    id: 1,
    state: "opened",
    after: null,
    before: null,
    missing: 3,
    reason: null,
  });
  worker.tell("gap", {
    id: null,
    state: "skipped",
    after: null,
    before: null,
    missing: 3,
    reason: "x",
  });
  report(worker, 5, 5);
  assert.deepEqual(
    (await taken(items)).map(({ kind, gap }) => gap?.missing ?? kind),
    ["block", 3, "block"],
  );
  assert.deepEqual(
    (await taken(blocks)).map(({ number }) => number),
    [1, 5],
  );
  await observer.stop();
});

test("an iterator ends by its signal, with its reason, and leaves the others alone", async () => {
  const { worker, observer } = await started(observe);
  const control = new AbortController();
  const items = observer.follow({ signal: control.signal });
  const [waits, full] = [items[Symbol.asyncIterator](), items[Symbol.asyncIterator]()];
  const other = observer.blocks[Symbol.asyncIterator]();
  report(worker, 1, 1);
  assert.equal((await waits.next()).value.block.number, 1);
  const reason = new Error("enough");
  const step = failure(waits.next());
  control.abort(reason);
  assert.equal(await settles(step, "next()"), reason);
  assert.equal((await waits.next()).done, true);
  assert.equal(await failure(full.next()), reason, "what was queued is dropped");
  assert.equal((await full.next()).done, true);
  assert.equal(await failure(items[Symbol.asyncIterator]().next()), reason);
  report(worker, 2, 2);
  assert.deepEqual(
    (await taken(other)).map(({ number }) => number),
    [1, 2],
  );
  for (const wrong of [
    { signal: control },
    { maxBlocks: 0 },
    { maxBlocks: 1e9 },
    { maxBytes: "1" },
    { name: 7 },
    { typo: 1 },
    null,
  ]) {
    assert.throws(() => observer.follow(wrong), { code: "option" });
  }
  await observer.stop();
});

test("iterators end with the observer, and by return() and throw()", async () => {
  const { worker, observer } = await started(observe);
  const iterators = [0, 1, 2].map(() => observer.blocks[Symbol.asyncIterator]());
  assert.deepEqual(await iterators[1].return(7), { value: 7, done: true });
  assert.equal(await failure(iterators[2].throw("x")), "x");
  report(worker, 1, 1);
  assert.equal((await iterators[0].next()).value.number, 1);
  for (const iterator of iterators.slice(1)) assert.equal((await iterator.next()).done, true);
  const waiting = iterators[0].next();
  await observer.stop();
  assert.equal((await settles(waiting, "next()")).done, true);
  assert.equal((await observer.blocks[Symbol.asyncIterator]().next()).done, true);
});

test("a block that the node holds can be had by its number and its hash", async () => {
  const { worker, observer } = await started(observe);
  const asked = [];
  worker.act = (message) => {
    if (message.stop) return worker.says({ stopped: true });
    const { id, what, given } = message.ask;
    asked.push([what, ...given]);
    const value = given[0] === "9" ? null : { detail: block(7), payload: payload(TRANSACTIONS) };
    if (given[0] === "8")
      return worker.says({ answered: { id, failed: { code: "crashed", message: "x" } } });
    if (given[0] !== "6") worker.says({ answered: { id, value } });
  };
  const { hash } = block(7);
  for (const at of [7, 7n, hash, hash.toUpperCase().replace("X", "x")]) {
    const found = await settles(observer.getBlock(at), "getBlock()");
    assert.deepEqual([found.number, found.hash, found.gasUsed], [7, hash, 18446744073709551615n]);
    assert.deepEqual(found.transactions, TRANSACTIONS);
    assert.throws(() => (found.number = 1), TypeError);
    assert.throws(() => found.transactionHashes.push("0x"), TypeError);
  }
  assert.deepEqual(asked, [["block", "7"], ["block", "7"], ["block", hash], ["block", hash]]);
  assert.equal(await observer.getBlock(9), null);
  assert.equal((await failure(observer.getBlock(8))).code, "crashed");
  for (const wrong of [-1, 1.5, NaN, 2 ** 60, -1n, 1n << 64n, "7", "latest", "0x12", null, undefined, {}])
    assert.equal((await failure(observer.getBlock(wrong))).code, "option", String(wrong));
  const unanswered = failure(observer.getBlock(6));
  await observer.stop();
  assert.equal((await settles(unanswered, "getBlock()")).code, "stopped");
  assert.equal((await failure(observer.getBlock(7))).code, "stopped");
});

const status = (changes = {}) => ({
  head: null,
  linked: null,
  highest: null,
  peers: [{ id: "a", state: "dialling" }],
  troubles: [],
  counters: { blocks: 0, rejected: {} },
  memory: 5,
  ...changes,
});

test("snapshots stay the same object until something changes, and can't be changed", async () => {
  const { worker, observer } = await started(observe);
  let changes = 0;
  observer.on("status", (now) => {
    changes += 1;
    assert.equal(now, observer.status);
  });
  assert.equal(observer.counters, observer.counters);
  worker.tell("status", status());
  const before = observer.status;
  const { peers, counters } = observer;
  assert.equal(counters.memory, 5);
  worker.tell("status", status());
  assert.equal(observer.status, before);
  worker.tell("status", status({ counters: { blocks: 1, rejected: {} } }));
  assert.equal(changes, 2);
  assert.notEqual(observer.status, before);
  assert.notEqual(observer.counters, counters);
  assert.equal(observer.peers, peers, "the peers are the same ones");
  worker.tell("peer", { what: "connected", id: "a", state: "connected" });
  assert.deepEqual([observer.peers, changes], [[{ id: "a", state: "connected" }], 3]);
  report(worker, 1, 1);
  for (const change of [
    () => (observer.head.number = 5),
    () => (observer.peers.length = 0),
    () => (observer.peers[0].state = "x"),
    () => (observer.counters.rejected.x = 1),
    () => (observer.network.signer = "x"),
    () => (observer.network = null),
    () => (observer.status.head = null),
  ]) {
    assert.throws(change, TypeError);
  }
  await observer.stop();
});

test("the head is the newest block, and the blocks below it don't move it back", async () => {
  const { worker, observer } = await started(observe);
  assert.equal(observer.head, null);
  worker.tell("head", { number: 9, hash: "0x9", timestamp: 1, timestampMs: 1000, receivedAt: 1 });
  assert.equal((await settles(observer.ready, "ready")).number, 9);
  report(worker, 3, 4);
  assert.deepEqual([observer.head.number, observer.linked.number], [9, 4]);
  report(worker, 5, 12);
  assert.deepEqual([observer.head.number, observer.linked.number], [12, 12]);
  worker.tell("head", { number: 11, hash: "0xb", timestamp: 1, timestampMs: 1000, receivedAt: 1 });
  assert.equal(observer.head.hash, "0xb", "a reorg may lower it");
  await observer.stop();
});

test("`ready` fails if the observer ends before its first block, and nothing goes uncaught", async () => {
  const { observer } = await started(observe);
  await observer.stop();
  assert.equal((await failure(observer.ready)).code, "stopped");
  await (await started(observe)).observer.stop();
});

test("the name of an event and its listener are checked", async () => {
  const { worker, observer } = await started(observe);
  for (const wrong of [
    ["blok", () => {}],
    ["block", undefined],
    ["block", {}],
    [undefined, () => {}],
    [Symbol("x"), () => {}],
  ]) {
    assert.throws(() => observer.on(...wrong), { name: "ObserverError", code: "option" });
  }
  const seen = [];
  const off = observer.on("block", ({ number }) => seen.push(number));
  report(worker, 1, 1);
  off();
  report(worker, 2, 2);
  assert.deepEqual(seen, [1]);
  assert.throws(() => new Observer(), TypeError);
  await observer.stop();
});

test("a new signer replaces the network, which says that it was read", async () => {
  const { worker, observer } = await started(observe);
  const before = observer.network;
  worker.tell("signer", { signer: "0xab", previous: null });
  assert.deepEqual([observer.network.signer, observer.network.signerSource], ["0xab", "reader"]);
  assert.notEqual(observer.network, before);
  await observer.stop();
});

test("a worker that ends by itself is a crash", async () => {
  const { worker, observer } = await started(observe);
  const errors = [];
  observer.on("error", (error) => errors.push(error));
  worker.fails("unreachable");
  assert.deepEqual([errors[0].code, observer.stopped], ["crashed", true]);
  await settles(observer.stop(), "stop()");
});

test("a feed loses the blocks above a reorg's ancestor, and above a lower block of a skipped gap", async () => {
  const { worker, observer } = await started(observe);
  const feed = feedOf(observer);
  let changes = 0;
  const leave = feed.subscribe(() => (changes += 1));
  const shown = () => feed.first(10).map(({ number }) => number);
  const id = (number) => ({ number, hash: block(number).hash });
  const skipped = (after, before, missing) =>
    worker.tell("gap", { id: null, state: "skipped", after: id(after), before: id(before), missing });
  report(worker, 7, 10);
  skipped(10, 9, 0);
  assert.deepEqual(shown(), [8, 7]);
  report(worker, 9, 9);
  worker.tell("reorg", { ancestor: id(8), abandoned: [id(9)], adopted: [] });
  assert.deepEqual(shown(), [8, 7]);
  assert.equal(changes, 7);
  skipped(8, 20, 11);
  assert.equal(changes, 7, "nothing of the list is taken back");
  report(worker, 20, 20);
  assert.deepEqual(shown(), [20, 8, 7]);
  const detail = { id: null, state: "skipped", after: id(20), before: id(30), missing: 9 };
  worker.tell("gap", { ...detail, reason: null, detached: true });
  assert.deepEqual(shown(), []);
  report(worker, 30, 30);
  assert.deepEqual(shown(), [30]);
  leave();
  assert.equal(feed.first(10), feed.first(10));
  assert.equal(feedOf(observer), feed);
  await observer.stop();
});
