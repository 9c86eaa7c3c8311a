// What a tab has seen, while its node moves: `node --test web/e2e/package/seen.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Seen, startOf } from "../../js/seen.js";
import { block } from "./mock.mjs";

const signed = (number, changes = {}) => ({
  ...block(number),
  signature: `0x${"01".repeat(65)}`,
  ...changes,
});
const id = (number) => ({ number, hash: block(number).hash });
const fork = { hash: `0x${"ab".repeat(32)}` };
const bytes = (length = 3) => new Uint8Array(length);
const gap = (state, after, before, fields = {}) => ({
  id: state === "skipped" ? null : 0,
  state,
  after: after && id(after),
  before: before && id(before),
  missing: before ? before - after - 1 : 0,
  reason: null,
  detached: false,
  ...fields,
});

/** What a tab has seen after these blocks of its first node. */
function after(from, to) {
  const seen = new Seen();
  assert.deepEqual(seen.moved(), []);
  for (let number = from; number <= to; number++) {
    const reports = seen.take("block", signed(number), bytes());
    assert.deepEqual(reports, [["block", signed(number), bytes()]]);
  }
  return seen;
}

/** Takes blocks. Returns the reports as pairs of their kind and number, or their state. */
const take = (seen, ...blocks) =>
  blocks.flatMap((block) =>
    seen.take("block", block, bytes()).map(([kind, { number, state }]) => [kind, number ?? state]),
  );

test("another node's blocks are passed on above the last one only", () => {
  const seen = after(5, 9);
  assert.deepEqual(seen.last, id(9));
  seen.moved();
  assert.deepEqual(take(seen, signed(7), signed(8), signed(9)), []);
  assert.deepEqual(take(seen, signed(10), signed(11)), [["block", 10], ["block", 11]]);
  // Blocks from before the tab was opened are not news either.
  seen.moved();
  assert.deepEqual(take(seen, signed(3), signed(4)), []);
  assert.deepEqual(take(seen, signed(12)), [["block", 12]]);
});

test("blocks that no node has are told as a gap, once", () => {
  const seen = after(5, 9);
  seen.moved();
  const [[kind, detail], [next]] = seen.take("block", signed(14), bytes());
  assert.deepEqual([kind, next], ["gap", "block"]);
  assert.deepEqual({ ...detail, reason: null }, gap("skipped", 9, 14));
  // The node says so itself.
  seen.moved();
  assert.deepEqual(seen.take("gap", gap("skipped", 12, 20)), [["gap", gap("skipped", 14, 20)]]);
  assert.deepEqual(take(seen, signed(20)), [["block", 20]]);
});

test("another branch is told as a reorg, by the tab or by the node", () => {
  const seen = after(5, 9);
  seen.moved();
  const [[kind, reorg], [next]] = seen.take("block", signed(8, fork), bytes());
  assert.deepEqual([kind, next], ["reorg", "block"]);
  const adopted = [{ number: 8, ...fork }];
  assert.deepEqual(reorg, { ancestor: id(7), abandoned: [id(8), id(9)], adopted });
  const hashes = seen.recent.map(({ detail }) => detail.hash);
  assert.deepEqual(hashes, [id(5).hash, id(6).hash, id(7).hash, fork.hash]);
  // The node has followed it, and knows fewer abandoned blocks than the tab.
  const other = after(5, 9);
  other.moved();
  const told = { ancestor: id(6), abandoned: [id(7)], adopted: [{ number: 7, ...fork }] };
  const [[, shown]] = other.take("reorg", told);
  assert.deepEqual(shown, { ...told, abandoned: [id(7), id(8), id(9)] });
  assert.deepEqual(take(other, signed(7, fork)), [["block", 7]]);
});

test("a block on an unknown branch follows a gap", () => {
  const seen = after(5, 9);
  seen.moved();
  const other = signed(10, { parentHash: fork.hash });
  const [[kind, detail], [next]] = seen.take("block", other, bytes());
  assert.deepEqual([kind, next, detail.state], ["gap", "block", "skipped"]);
  assert.deepEqual([detail.after, detail.missing], [id(8), 1]);
  assert.deepEqual(take(seen, signed(11)), [["block", 11]]);
});

test("the state never falls back behind what the tab has", () => {
  const seen = after(5, 9);
  const head = (number) => ({ ...id(number), receivedAt: 1 });
  const status = (number, peers = []) => {
    const [linked, highest] = [id(number), id(number)];
    return { head: head(number), linked, highest, peers, troubles: [] };
  };
  const peers = [{ id: "p", state: "connected", inMesh: true }];
  seen.take("status", status(9, peers));
  const [[kind, shown]] = seen.moved();
  const [{ state, inMesh }] = shown.peers;
  assert.deepEqual([kind, state, inMesh], ["status", "dialling", false]);
  assert.deepEqual(seen.take("head", head(7)), []);
  const [[, now]] = seen.take("status", status(7));
  assert.deepEqual([now.head.number, now.linked.number, now.highest.number], [9, 9, 9]);
  const nothing = { head: null, linked: null, highest: null };
  const [[, fresh]] = seen.take("status", { ...status(7), ...nothing });
  assert.deepEqual([fresh.head.number, fresh.linked.number], [9, 9]);
  assert.equal(seen.take("head", head(10)).length, 1);
  take(seen, signed(10));
  assert.deepEqual(seen.take("status", status(10)), [["status", status(10)]]);
});

test("troubles and gaps of the old node end, and the new one's gaps are others", () => {
  const seen = after(5, 9);
  const trouble = { kind: "no_blocks", text: "x", since: 1, last: 1 };
  seen.take("trouble", trouble);
  seen.take("trouble", { ...trouble, kind: "gap" });
  seen.take("trouble-ended", { ...trouble, kind: "gap" });
  seen.take("gap", gap("opened", 9, 12));
  const ends = seen.moved();
  const kinds = ends.map(([kind, { state }]) => [kind, state]);
  assert.deepEqual(kinds, [["trouble-ended", undefined], ["gap", "closed"]]);
  assert.equal(ends[0][1].kind, "no_blocks");
  assert.deepEqual(seen.moved(), []);
  // The tab has the lower part of this gap, and all of the next.
  const opened = gap("opened", 9, 12, { id: 1 });
  assert.deepEqual(seen.take("gap", gap("opened", 7, 12)), [["gap", opened]]);
  assert.deepEqual(seen.take("gap", gap("opened", 6, 9, { id: 1 })), []);
  assert.deepEqual(seen.take("gap", gap("closed", null, null, { id: 1 })), []);
  assert.deepEqual(seen.take("gap", gap("closed")), [["gap", { ...gap("closed"), id: 1 }]]);
});

test("what is kept is bounded, and a node goes on from the newest block that all have seen", () => {
  const seen = after(1, 1000);
  const numbers = seen.recent.map(({ detail }) => detail.number);
  assert.deepEqual(numbers, [993, 994, 995, 996, 997, 998, 999, 1000]);
  const from = (...lasts) => startOf(seen.recent, lasts)?.detail.number;
  assert.deepEqual([from(), from(1000, 996), from(1000, 998, 1002)], [1000, 996, 998]);
  // A tab far behind holds none back.
  assert.deepEqual([from(1000, 980), from(1000, 3)], [993, 1000]);
  assert.equal(startOf([], [7]), undefined);
  // Blocks without a signature can't be checked again.
  seen.take("block", block(1001), bytes());
  assert.equal(seen.recent.at(-1).detail.number, 1000);
  for (const number of [1002, 1003]) seen.take("block", signed(number), bytes(9 << 20));
  assert.deepEqual(seen.recent.map(({ detail }) => detail.number), [1003]);
});

test("blocks that the browser dropped are told as a gap, or as a reorg", () => {
  const seen = after(5, 9);
  assert.deepEqual(take(seen, signed(12), signed(13)), [["gap", "skipped"], ["block", 12], ["block", 13]]);
  const other = signed(13, { ...fork, parentHash: block(12).hash });
  assert.deepEqual(take(seen, other), [["reorg", undefined], ["block", 13]]);
  // What the node itself tells is told once.
  seen.take("gap", gap("skipped", 13, 20), null);
  assert.deepEqual(take(seen, signed(20)), [["block", 20]]);
});

test("after a detached skip no block that the tab has counts", () => {
  for (const isMoved of [false, true]) {
    const seen = after(5, 9);
    if (isMoved) seen.moved();
    const detail = gap("skipped", 6, 8, { detached: true });
    assert.deepEqual(seen.take("gap", detail), [["gap", detail]]);
    assert.deepEqual(seen.recent, []);
    const next = signed(8, { ...fork, parentHash: id(77).hash });
    assert.deepEqual(take(seen, next), [["block", 8]]);
    assert.deepEqual(take(seen, signed(9, { parentHash: fork.hash })), [["block", 9]]);
  }
});

test("a reorg does not hide blocks below its ancestor that the tab has missed", () => {
  const reorg = (ancestor) => ({ ancestor, abandoned: [], adopted: [] });
  for (const isMoved of [false, true]) {
    const seen = after(5, 9);
    if (isMoved) seen.moved();
    // It missed blocks 10 to 13, and the block 13 that is abandoned.
    assert.deepEqual(seen.take("reorg", reorg(id(12))), []);
    const next = signed(13, { ...fork, parentHash: block(12).hash });
    const [[, detail], [kind]] = seen.take("block", next, bytes());
    assert.deepEqual([detail.state, detail.after, detail.missing, kind], ["skipped", id(9), 3, "block"]);
    assert.deepEqual(take(seen, signed(14, { parentHash: fork.hash })), [["block", 14]]);
    // It missed a reorg to another block 8, from which the chain parts again.
    const other = after(5, 9);
    if (isMoved) other.moved();
    assert.deepEqual(other.take("reorg", reorg({ number: 8, ...fork })), []);
    const shown = other.take("block", signed(9, { hash: id(77).hash, parentHash: fork.hash }), bytes());
    assert.deepEqual([shown.length, shown[0][1].state, shown[0][1].after], [2, "skipped", id(7)]);
  }
  // A tab without a block has missed none.
  assert.equal(new Seen().take("reorg", reorg(id(12))).length, 1);
});

test("a tab that joins the same node again learns which troubles began or ended meanwhile", () => {
  const seen = after(5, 9);
  const trouble = (kind) => ({ kind, text: "x", since: 1, last: 1 });
  const status = (...kinds) => {
    const [head, linked, highest] = [{ ...id(9), receivedAt: 1 }, id(9), id(9)];
    return { head, linked, highest, peers: [], troubles: kinds.map(trouble) };
  };
  const kinds = (reports) => reports.map(([kind, detail]) => [kind, detail.kind]);
  const told = ["status", undefined];
  assert.deepEqual(kinds(seen.take("status", status("gap", "clock"))), [told]);
  assert.deepEqual(seen.moved(true), []);
  const reports = kinds(seen.take("status", status("clock", "no_peers")));
  assert.deepEqual(reports, [["trouble-ended", "gap"], ["trouble", "no_peers"], told]);
  assert.deepEqual(kinds(seen.take("status", status("clock"))), [told]);
  const [[, detail]] = seen.take("block", signed(12), bytes());
  assert.equal(detail.reason, "this tab was halted");
});
