// Tabs that share a node without a shared worker, with channels, locks and workers of the test:
// `node --test web/e2e/package/leader.test.mjs`.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { block, until } from "./mock.mjs";
import { Origin } from "./tabs.mjs";

let origin;
const all = [];

/** An origin with tabs on it. */
async function opened(count) {
  origin = new Origin();
  const tabs = await origin.tabs(count);
  all.push(...tabs);
  return tabs;
}

afterEach(() => {
  for (const tab of all.splice(0)) tab.member.terminate();
});

const leaders = (tabs) => tabs.filter(({ worker }) => worker);
const numbers = ({ blocks }) => blocks.map(({ number }) => number);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Waits until all tabs have these blocks: each once, ascending and linked. */
async function have(tabs, from, to) {
  await until(() => tabs.every((tab) => numbers(tab).at(-1) >= to));
  for (const tab of tabs) {
    assert.deepEqual(numbers(tab), range(from, to));
    const parents = tab.blocks.slice(1).map(({ parentHash }) => parentHash);
    assert.deepEqual(parents, tab.blocks.slice(0, -1).map(({ hash }) => hash));
    assert.deepEqual(tab.details("gap"), []);
  }
}

/** Waits until the tabs have another node than this one. */
const moved = (tabs, peerId) =>
  until(() => tabs.every((tab) => tab.started.at(-1).peerId !== peerId));

test("ten tabs have one node, in the first of them, and each gets every block", async () => {
  const tabs = await opened(10);
  assert.deepEqual(leaders(tabs), [tabs[0]]);
  assert.equal(origin.starts.length, 1);
  for (let count = 0; count < 100; count++) origin.grow();
  await have(tabs, 101, 200);
  tabs.forEach((tab, id) => tab.says({ ask: { id, what: "block", given: [String(id)] } }));
  await until(() => tabs.every((tab, id) => tab.answer(id)));
  tabs.forEach((tab, id) => assert.deepEqual(tab.answer(id).value.given, [String(id)]));
});

test("when the leader crashes, the next tab leads, and no block is lost or doubled", async () => {
  const tabs = await opened(4);
  for (let round = 0; round < 3; round++) {
    origin.grow();
    await have(tabs, 101, 101 + 4 * round);
    const [first] = tabs.splice(0, 1);
    first.crash();
    for (let count = 0; count < 3; count++) origin.grow();
    await have(tabs, 101, 104 + 4 * round);
    await until(() => leaders(tabs).length === 1);
    assert.deepEqual(leaders(tabs), [tabs[0]]);
  }
  assert.deepEqual(origin.starts, [undefined, 101, 105, 109]);
  assert.equal(origin.nodes.size, 1);
});

test("tabs that have seen different blocks all go on from their own", async () => {
  const tabs = await opened(3);
  origin.grow();
  await have(tabs, 101, 101);
  // The second gets these blocks, the third does not.
  tabs[2].channels.state.holds = [];
  for (let count = 0; count < 3; count++) origin.grow();
  await have(tabs.slice(0, 2), 101, 104);
  tabs[2].channels.state.holds = null;
  tabs[0].crash();
  origin.grow();
  await have(tabs.slice(1), 101, 105);
  assert.equal(origin.starts[1], 101, "the node goes on from what all have seen");
});

test("a leader that stops hands over, and the last one stops its node", async () => {
  const tabs = await opened(2);
  origin.grow();
  await have(tabs, 101, 101);
  tabs[0].says({ stop: true });
  await until(() => tabs[0].got.at(-1).stopped);
  assert.equal(origin.nodes.size, 0);
  tabs[0].member.terminate();
  origin.grow();
  await have(tabs.slice(1), 101, 102);
  tabs[1].says({ stop: true });
  await until(() => tabs[1].got.at(-1).stopped);
  assert.deepEqual([tabs[0].blocks.length, origin.nodes.size], [1, 0]);
});

test("a follower that stops leaves the others their node", async () => {
  const tabs = await opened(3);
  tabs[1].says({ stop: true });
  await until(() => tabs[1].got.at(-1).stopped);
  tabs[1].member.terminate();
  tabs[2].crash();
  origin.grow();
  await have([tabs[0]], 101, 101);
  assert.equal(origin.starts.length, 1);
});

test("a leader that is frozen makes room, and follows when it goes on", async () => {
  const tabs = await opened(3);
  origin.grow();
  await have(tabs, 101, 101);
  tabs[0].freeze();
  origin.grow();
  await have(tabs.slice(1), 101, 102);
  assert.deepEqual(leaders(tabs), [tabs[1]]);
  tabs[0].thaw();
  await until(() => tabs[0].started.length === 2);
  origin.grow();
  await until(() => numbers(tabs[0]).includes(103));
  assert.deepEqual(leaders(tabs), [tabs[1]]);
  await have(tabs.slice(1), 101, 103);
  // It joined a node that had gone on: it is told what it missed.
  const ends = ({ state, after, before }) => [state, after.number, before.number];
  const skipped = tabs[0].details("gap").map(ends);
  const missed = range(101, 103).filter((number) => !numbers(tabs[0]).includes(number));
  assert.deepEqual(skipped, missed.length ? [["skipped", 101, 103]] : []);
});

test("the only tab is frozen: its node goes on where it was", async () => {
  const [tab] = await opened(1);
  origin.grow();
  await have([tab], 101, 101);
  tab.freeze();
  assert.equal(origin.nodes.size, 0);
  origin.grow();
  tab.thaw();
  origin.grow();
  await have([tab], 101, 103);
});

test("a leader that is halted without a word loses the lock, and follows later", async () => {
  const tabs = await opened(3);
  origin.grow();
  await have(tabs, 101, 101);
  const [node] = origin.nodes;
  tabs[0].halt();
  origin.nodes.delete(node);
  await moved(tabs.slice(1), "node 1");
  origin.grow();
  await have(tabs.slice(1), 101, 102);
  tabs[0].unhalt();
  await until(() => !tabs[0].worker && tabs[0].started.length === 2);
  assert.equal(leaders(tabs).length, 1);
  origin.grow();
  await have(tabs.slice(1), 101, 103);
  await until(() => numbers(tabs[0]).includes(103));
  assert.equal(new Set(tabs.map((tab) => tab.started.at(-1).peerId)).size, 1);
});

test("questions under way are put to the next leader, unless they are withdrawn", async () => {
  const tabs = await opened(2);
  origin.answers = () => new Promise(() => {});
  tabs[1].says({ ask: { id: 1, what: "read", given: [7, "eth_getCode", "[]"] } });
  tabs[1].says({ ask: { id: 2, what: "block", given: ["5"] } });
  tabs[1].says({ ask: { id: 3, what: "read", given: [8, "eth_getCode", "[]"] } });
  await new Promise((resolve) => setTimeout(resolve, 20));
  origin.answers = async (what, given) => ({ what, given });
  tabs[0].crash();
  tabs[1].says({ cancelRead: 8 });
  await until(() => tabs[1].answer(3));
  assert.equal(tabs[1].answer(3).failed.code, "stopped");
  await until(() => tabs[1].answer(1) && tabs[1].answer(2));
  assert.deepEqual(tabs[1].answer(1).value.given.slice(1), ["eth_getCode", "[]"]);
  assert.deepEqual(tabs[1].answer(2).value, { what: "block", given: ["5"] });
});

test("a worker that does not load fails a new tab, and is tried again by an old one", async () => {
  origin = new Origin();
  origin.fails = true;
  const first = origin.tab();
  all.push(first);
  await until(() => first.errors.length === 1);
  first.member.terminate();
  origin.fails = false;
  const tabs = await origin.tabs(2);
  all.push(...tabs);
  origin.grow();
  await have(tabs, 101, 101);
  origin.fails = true;
  tabs[0].crash();
  await until(() => tabs[1].details("error").length === 1);
  assert.match(tabs[1].details("error")[0].message, /can't run in this tab \(no\)/);
  origin.fails = false;
  origin.grow();
  await have(tabs.slice(1), 101, 102);
  assert.deepEqual(tabs[1].errors, []);
});

test("a crash of the node is told to all tabs, and a new tab has a new node", async () => {
  const tabs = await opened(3);
  const [node] = origin.nodes;
  node.tell("crashed", "unreachable");
  await until(() => tabs.every((tab) => tab.details("crashed").length === 1));
  for (const tab of tabs) {
    tab.says({ stop: true });
    await until(() => tab.got.at(-1).stopped);
    tab.member.terminate();
  }
  assert.equal(origin.starts.length, 1);
  const [next] = await origin.tabs(1);
  all.push(next);
  assert.equal(origin.starts.length, 2);
});

test("a chain that has changed its branch while the node moved is told as a reorg", async () => {
  const tabs = await opened(3);
  origin.grow();
  await have(tabs, 101, 101);
  tabs[2].channels.state.holds = [];
  origin.grow();
  origin.grow();
  await have(tabs.slice(0, 2), 101, 103);
  tabs[2].channels.state.holds = null;
  tabs[0].crash();
  const hash = `0x${"ab".repeat(32)}`;
  const old = origin.chain.splice(-2);
  origin.grow({ ...block(102), hash });
  origin.grow({ ...block(103), parentHash: hash });
  await until(() => tabs.slice(1).every((tab) => tab.blocks.at(-1)?.parentHash === hash));
  assert.deepEqual(numbers(tabs[1]), [101, 102, 103, 102, 103]);
  const [{ ancestor, abandoned }, ...more] = tabs[1].details("reorg");
  assert.deepEqual([ancestor, more], [{ number: 101, hash: block(101).hash }, []]);
  assert.deepEqual(abandoned, old.map(({ number, hash }) => ({ number, hash })));
  assert.deepEqual([numbers(tabs[2]), tabs[2].details("reorg")], [[101, 102, 103], []]);
});

test("a tab that stood still while the browser dropped its reports gets them again", async () => {
  for (const [stands, goesOn] of [
    [(tab) => tab.stand(), (tab) => tab.goOn()],
    [
      (tab) => tab.freeze(),
      (tab) => {
        tab.channels.state.holds = [];
        tab.thaw();
      },
    ],
  ]) {
    const tabs = await opened(3);
    origin.grow();
    await have(tabs, 101, 101);
    const [, still] = tabs;
    stands(still);
    // The others confirm what they get. Its hub takes all for unconfirmed.
    for (let to = 201; to <= 701; to += 100) {
      for (let count = 0; count < 100; count++) origin.grow();
      await have([tabs[0], tabs[2]], 101, to);
    }
    goesOn(still);
    await until(() => still.started.length === 2);
    for (let count = 0; count < 100; count++) origin.grow();
    await until(() => numbers(still).at(-1) === 801);
    assert.deepEqual(numbers(still), [101, ...range(702, 801)]);
    const ends = ({ state, after, before, missing }) => [state, after.number, before.number, missing];
    assert.deepEqual(still.details("gap").map(ends), [["skipped", 101, 702, 600]]);
    await have([tabs[0], tabs[2]], 101, 801);
    assert.equal(origin.starts.length, 1, "its node did not stop");
    for (const tab of all.splice(0)) tab.member.terminate();
  }
});

test("the only tab stood still: it joins its own node again, which goes on", async () => {
  const [tab] = await opened(1);
  origin.answers = () => new Promise(() => {});
  tab.says({ ask: { id: 1, what: "read", given: [7, "eth_getCode", "[]"] } });
  origin.grow();
  await have([tab], 101, 101);
  tab.stand();
  origin.grow();
  await new Promise((resolve) => setTimeout(resolve, 20));
  origin.answers = async (what, given) => ({ what, given });
  tab.goOn();
  await until(() => tab.answer(1));
  assert.deepEqual(tab.answer(1).value.given.slice(1), ["eth_getCode", "[]"]);
  origin.grow();
  await until(() => numbers(tab).at(-1) === 103);
  assert.deepEqual([origin.starts.length, tab.details("gap").length], [1, 1]);
});
