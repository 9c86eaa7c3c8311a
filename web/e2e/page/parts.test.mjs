// The page's parts that need no screen: `node --test web/e2e/page`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { age, bytes, counted, duration, gas, shortHash, shortPeer, utc } from "../../page/format.js";
import { BLOCKS, Model, SAMPLES, percentile } from "../../page/model.js";

const hash = (number) => `0x${String(number).padStart(64, "0")}`;
const block = (number, more = {}) => ({
  number,
  hash: hash(number),
  timestamp: 1_700_000_000 + 2 * number,
  timestampMs: 1000 * (1_700_000_000 + 2 * number) + 200,
  receivedAt: (1_700_000_000 + 2 * number) * 1e3 + 250,
  origin: "gossip",
  signature: "0x00",
  size: 1000,
  transactionCount: 2,
  transactions: [new Uint8Array([0x7e, 0]), new Uint8Array([0x02])],
  payload: new Uint8Array(1 << 20),
  ...more,
});

test("values are short", () => {
  assert.deepEqual([0, 783, 31_240, 999_949, 999_950, 2.5e9].map(bytes), ["0 B", "783 B", "31.2 kB", "999.9 kB", "1.00 MB", "2.50 GB"]);
  assert.deepEqual([0.42, 9.996, 421.4, 1240, 12_000, 125_000, 7_500_000].map(duration),
    ["0.42 ms", "10 ms", "421 ms", "1.24 s", "12.0 s", "2 min 5 s", "2 h 5 min"]);
  assert.equal(duration(-300), "−300 ms");
  assert.deepEqual([-5, 0, 1234, 59_999, 61_000].map(age), ["0.0 s", "0.0 s", "1.2 s", "60.0 s", "1 min 1 s"]);
  assert.deepEqual([21_000n, 30_000_000n].map(gas), ["21 k", "30.00 M"]);
  assert.deepEqual([1, 2].map((number) => counted(number, "gap")), ["1 gap", "2 gaps"]);
  assert.equal(shortHash(hash(7)), "0x000000…0007");
  assert.equal(shortPeer("16Uiu2HAmAbcdefgh"), "…Abcdefgh");
  assert.equal(utc(1_700_000_000), "2023-11-14 22:13:20 UTC");
  assert.equal(utc(1e300), "1e+300");
});

test("nothing grows with the page's age", () => {
  const model = new Model();
  for (let number = 1; number <= 1000; number += 1) {
    model.block(block(number));
    model.rejected({ rule: "x", text: `reason ${number}`, verdict: "reject", peer: "p", at: number });
    model.gap({ id: number, state: "opened", after: null, before: null, missing: 5, reason: null });
  }
  assert.deepEqual([model.blocks.length, model.fresh.length, model.events.length, model.gaps.size], [BLOCKS, BLOCKS, 100, 32]);
  for (const values of Object.values(model.samples)) assert.equal(values.length, SAMPLES);
  assert.equal(model.blocks[0].number, 1000);
  assert.equal("payload" in model.blocks[0], false);
  assert.deepEqual([[...model.blocks[0].sizes], [...model.blocks[0].types]], [[2, 1], [0x7e, 0x02]]);
});

test("trouble and its end are lines of the log", () => {
  const model = new Model();
  const trouble = { kind: "no_peers", text: "No gateway is connected", remedy: "check it", since: 5, last: 5 };
  model.troubleBegan(trouble);
  model.troubleEnded(trouble);
  model.signer({ signer: "0xcc", previous: null });
  const lines = model.events.map(({ kind, title, text }) => [kind, title, text]);
  assert.deepEqual(lines, [
    ["signer", "New signer", "blocks of 0xcc are accepted from now on"],
    ["trouble-ended", "Trouble is over", "No gateway is connected"],
    ["trouble", "Trouble", "No gateway is connected"],
  ]);
});

test("a fetched block has no latency", () => {
  const model = new Model();
  model.block(block(1));
  model.block(block(2, { origin: "request", signature: null }));
  // Measured from the block's own time, to the millisecond.
  assert.deepEqual(model.samples.latency, [50, null]);
  assert.deepEqual(model.samples.x, [0, 1]);
});

test("a reorg marks abandoned blocks", () => {
  const model = new Model();
  for (const number of [1, 2, 3]) model.block(block(number));
  model.reorg({ ancestor: { number: 1, hash: hash(1) }, abandoned: [{ number: 2, hash: hash(2) }, { number: 3, hash: hash(3) }], adopted: [] });
  assert.deepEqual(model.blocks.map((block) => block.replaced), [true, true, false]);
  assert.equal(model.events[0].text, "2 blocks above 1 taken back");
});

test("a gap opens, shrinks and ends, in words only if it was not filled", () => {
  const model = new Model();
  const gap = (state, missing, more) => model.gap({ id: 1, state, after: null, before: { number: 9 }, missing, reason: null, ...more });
  gap("opened", 5);
  gap("changed", 2);
  assert.deepEqual([model.gaps.get(1).most, model.gaps.get(1).missing], [5, 2]);
  gap("closed", 0);
  assert.deepEqual([model.gaps.size, model.events.length], [0, 0]);
  gap("opened", 1);
  gap("refused", 0, { before: null, reason: "too old" });
  assert.deepEqual([model.gaps.size, model.events[0].text], [0, "1 block below 9: not asked for (too old)"]);
});

test("a skipped gap replaces what the interface says, and is told in words", () => {
  const id = (number) => ({ number, hash: hash(number) });
  for (const { after, before, missing, detached, replaced, text } of [
    { after: 5, before: 9, missing: 3, replaced: [], text: "3 blocks below 9: left out, the chain goes on above (x)" },
    { after: 3, before: 5, missing: 1, replaced: [5, 4], text: "1 block below 5: left out, the chain goes on above (x)" },
    { after: 5, before: 4, missing: 0, replaced: [5, 4], text: "the chain goes on at 4 (x)" },
    { after: 5, before: 6, missing: 0, detached: true, replaced: [5, 4, 3], text: "the chain goes on at 6, on another branch (x)" },
    { after: 5, before: 9, missing: 3, detached: true, replaced: [5, 4, 3], text: "3 blocks below 9: left out, the chain goes on above, on another branch (x)" },
  ]) {
    const model = new Model();
    for (const number of [3, 4, 5]) model.block(block(number));
    model.gap({ id: null, state: "skipped", after: id(after), before: id(before), missing, reason: "x", detached: detached ?? false });
    assert.deepEqual(model.blocks.filter((block) => block.replaced).map(({ number }) => number), replaced, text);
    assert.deepEqual([model.gaps.size, model.events[0].text], [0, text]);
  }
});

test("equal events in a row are counted", () => {
  const model = new Model();
  for (const at of [1, 2, 3]) model.rejected({ rule: "x", text: "wrong signer", verdict: "reject", peer: "p", at });
  model.rejected({ rule: "x", text: "wrong signer", verdict: "reject", peer: "q", at: 4 });
  assert.deepEqual(model.events.map(({ peer, times, at }) => [peer, times, at]), [["q", 1, 4], ["p", 3, 3]]);
  assert.equal(model.eventCount, 4);
});

test("percentiles use the nearest rank and ignore missing values", () => {
  assert.equal(percentile([null, 3, 1, 2, null], 0.5), 2);
  assert.equal(percentile([5], 0.99), 5);
  assert.equal(percentile([null], 0.5), null);
});
