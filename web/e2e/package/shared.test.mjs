// One node for several observers, with a mock node: `node --test
// web/e2e/package/shared.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Hub, attend } from "../../js/hub.js";
import { observe } from "../../js/index.js";
import { Member } from "../../js/leader.js";
import { shared } from "../../js/shared.js";
import { ABOUT, OPTIONS, block, failure, until } from "./mock.mjs";

/** A hub over a mock node. `node.tell` sends a report, and `ended` counts the hub's ends. */
function made({ fails } = {}) {
  const node = {
    about: ABOUT,
    starts: 0,
    stops: 0,
    got: [],
    networkChanged: () => node.got.push("networkChanged"),
    signerRead: (signer) => node.got.push(["signerRead", signer]),
    block: async (wanted) => ({ wanted }),
    read: (ticket, method) => {
      node.got.push(["read", ticket, method]);
      return method === "waits" ? new Promise(() => {}) : Promise.resolve({ result: method });
    },
    cancelRead: (ticket) => node.got.push(["cancelRead", ticket]),
    stop: async () => (node.stops += 1),
  };
  let ended = 0;
  const start = async (options, tell) => {
    node.starts += 1;
    node.options = options;
    node.tell = tell;
    if (fails?.()) throw new Error("it does not start");
    return node;
  };
  const hub = new Hub(start, () => (ended += 1));
  return { hub, node, ended: () => ended };
}

/** A client that records its messages. */
async function joined(hub, options = { node: 1 }) {
  const got = [];
  const client = await hub.join((message) => got.push(message), options);
  return { client, got, says: (message) => hub.heard(client, message) };
}

const kinds = (got) => got.map((message) => message.kind ?? Object.keys(message)[0]);

test("two clients have one node, and each gets every report", async () => {
  const { hub, node, ended } = made();
  const [one, other] = await Promise.all([joined(hub), joined(hub, { node: 2 })]);
  assert.deepEqual([node.starts, node.options], [1, { node: 1 }]);
  node.tell("block", block(5), new Uint8Array(3));
  for (const { got } of [one, other]) {
    assert.deepEqual(kinds(got), ["started", "block"]);
    assert.deepEqual([got[0].started, got[1].detail.number, got[1].payload.length], [ABOUT, 5, 3]);
  }
  await one.says({ networkChanged: true });
  await other.says({ signerRead: { signer: "0x1" } });
  assert.deepEqual(node.got, ["networkChanged", ["signerRead", "0x1"]]);
  await one.says({ stop: true });
  assert.deepEqual([kinds(one.got).at(-1), node.stops, ended()], ["stopped", 0, 0]);
  node.tell("block", block(6), new Uint8Array(3));
  assert.deepEqual([kinds(one.got).length, other.got.at(-1).detail.number], [3, 6]);
  await other.says({ stop: true });
  await other.says({ stop: true });
  assert.deepEqual([node.stops, ended()], [1, 1]);
});

test("a client that comes later learns the state at once", async () => {
  const { hub, node } = made();
  await joined(hub);
  const status = { head: block(9), counters: {} };
  node.tell("status", status);
  const late = await joined(hub);
  assert.deepEqual(late.got, [{ started: ABOUT }, { kind: "status", detail: status }]);
});

test("a client that comes later learns the signer that the node has now, and none of an older node", async () => {
  const signer = { signer: `0x${"22".repeat(20)}`, previous: null };
  const reports = ({ got }) => got.slice(1);
  for (const ends of [
    ({ hub }, { client }) => hub.leave(client),
    ({ node }) => node.tell("crashed", "unreachable"),
    ({ hub }) => hub.end(),
  ]) {
    const all = made();
    const first = await joined(all.hub);
    all.node.tell("signer", signer);
    const late = await joined(all.hub);
    assert.deepEqual(reports(late), [{ kind: "signer", detail: signer }]);
    await all.hub.leave(late.client);
    await ends(all, first);
    assert.deepEqual(reports(await joined(all.hub)), []);
    assert.equal(all.node.starts, 2);
  }
});

test("questions of two clients with the same numbers get their own answers", async () => {
  const { hub, node } = made();
  const [one, other] = [await joined(hub), await joined(hub)];
  const ask = (client, id, what, ...given) => client.says({ ask: { id, what, given } });
  await ask(one, 1, "block", "7");
  await Promise.all([ask(one, 2, "read", 1, "first", "[]"), ask(other, 2, "read", 1, "second", "[]")]);
  const answers = ({ got }) => got.filter(({ answered }) => answered).map(({ answered }) => answered);
  assert.deepEqual(answers(one), [{ id: 1, value: { wanted: "7" } }, { id: 2, value: { result: "first" } }]);
  assert.deepEqual(answers(other), [{ id: 2, value: { result: "second" } }]);
  void ask(one, 3, "read", 9, "waits", "[]");
  void ask(other, 3, "read", 9, "waits", "[]");
  await until(() => node.got.length === 4);
  await other.says({ cancelRead: 9 });
  await other.says({ cancelRead: 77 });
  assert.deepEqual(node.got.at(-1), ["cancelRead", 4]);
  await hub.leave(one.client);
  assert.deepEqual(node.got.at(-1), ["cancelRead", 3], "nobody waits for its answer");
});

test("one client after the other is asked to read the signer", async () => {
  const { hub, node } = made();
  const clients = [await joined(hub), await joined(hub)];
  for (let round = 0; round < 4; round++) node.tell("read-signer");
  for (const { got } of clients) assert.deepEqual(kinds(got), ["started", "read-signer", "read-signer"]);
});

test("a client that takes no reports gets a bounded number, and learns what it missed", async () => {
  const { hub, node } = made();
  const [frozen, quick] = [await joined(hub), await joined(hub)];
  for (let number = 1; number <= 2000; number++) {
    node.tell("block", block(number), new Uint8Array(1));
    await quick.says({ confirmed: 1 });
  }
  node.tell("status", { head: block(2000) });
  assert.deepEqual([frozen.got.length, quick.got.length], [513, 2002]);
  await frozen.says({ confirmed: 512 });
  node.tell("block", block(2001), new Uint8Array(1));
  node.tell("block", block(2002), new Uint8Array(1));
  const [status, gap, next, last] = frozen.got.slice(513);
  assert.deepEqual([status.kind, status.detail.head.number], ["status", 2000]);
  const { state, after, before, missing } = gap.detail;
  assert.deepEqual([state, after.number, before.number, missing], ["skipped", 512, 2001, 1488]);
  assert.deepEqual([next.detail.number, last.detail.number], [2001, 2002]);
});

test("a client that missed reorgs learns the lowest one before its next block", async () => {
  const { hub, node } = made();
  const tell = (...numbers) => numbers.forEach((number) => node.tell("block", block(number), null));
  const reorg = (number) => {
    const ancestor = { number, hash: block(number).hash };
    node.tell("reorg", { ancestor, abandoned: [], adopted: [] });
  };
  for (const { before, reorgs, blocks, expected } of [
    // It misses block 513 and a reorg that takes back two of its own blocks.
    { before: 513, reorgs: [510], blocks: [511, 512], expected: ["reorg 510", 511, 512] },
    { before: 520, reorgs: [515, 505, 518], blocks: [519], expected: ["reorg 505", "gap 13", 519] },
    // It never got what is taken back.
    { before: 520, reorgs: [514], blocks: [515], expected: ["gap 2", 515] },
  ]) {
    const { got, client, says } = await joined(hub);
    for (let number = 1; number <= before; number++) tell(number);
    assert.equal(got.length, 513);
    reorgs.forEach(reorg);
    await says({ confirmed: 512 });
    tell(...blocks);
    const shown = got.slice(513).map(({ kind, detail }) => {
      if (kind === "reorg") {
        assert.ok(detail.abandoned.every(({ number }) => number > detail.ancestor.number));
        assert.equal(detail.abandoned.at(-1).number, 512);
        return `reorg ${detail.ancestor.number}`;
      }
      return kind === "gap" ? `gap ${detail.missing}` : detail.number;
    });
    assert.deepEqual(shown, expected);
    await hub.leave(client);
  }
});

test("a client that missed a skipped gap learns that the chain has gone on at a lower height", async () => {
  const { hub, node } = made();
  const other = (number) => block(number + 100_000).hash;
  const tell = (detail) => node.tell("block", detail, null);
  const skipped = (after, before) => {
    const [from, to] = [{ number: after, hash: block(after).hash }, { number: before, hash: other(before) }];
    node.tell("gap", { id: null, state: "skipped", after: from, before: to, missing: 0 });
  };
  for (const { parentHash, after, missing } of [
    { parentHash: block(509).hash, after: 509, missing: 0 },
    { parentHash: other(509), after: 508, missing: 1 },
  ]) {
    const { got, client, says } = await joined(hub);
    for (let number = 1; number <= 513; number++) tell(block(number));
    skipped(513, 510);
    await says({ confirmed: 512 });
    tell({ ...block(510), hash: other(510), parentHash });
    const [gap, next] = got.slice(513);
    const { state, before } = gap.detail;
    assert.deepEqual([state, gap.detail.after.number, gap.detail.missing], ["skipped", after, missing]);
    assert.deepEqual([before, next.detail.hash], [{ number: 510, hash: other(510) }, other(510)]);
    await hub.leave(client);
  }
  // Blocks that a skipped gap took back before are not abandoned again.
  const { got, says } = await joined(hub);
  for (const number of [8, 9, 10]) tell(block(number));
  skipped(10, 9);
  tell({ ...block(9), hash: other(9) });
  for (let count = got.length; count < 513; count++) node.tell("status", { head: null });
  node.tell("reorg", { ancestor: { number: 8, hash: block(8).hash }, abandoned: [], adopted: [] });
  await says({ confirmed: 512 });
  tell(block(9));
  const [{ detail }] = got.filter(({ kind }) => kind === "reorg");
  assert.deepEqual(detail.abandoned, [{ number: 9, hash: other(9) }]);
});

test("a client that missed a detached skip learns that none of its blocks counts", async () => {
  const { hub, node } = made();
  const { got, says } = await joined(hub);
  const id = (number) => ({ number, hash: block(number).hash });
  for (let number = 1; number <= 513; number++) node.tell("block", block(number), null);
  const skip = { id: null, state: "skipped", after: id(513), before: id(600), missing: 86 };
  node.tell("gap", { ...skip, reason: null, detached: true });
  await says({ confirmed: 512 });
  node.tell("block", block(600), null);
  const [gap, next] = got.slice(513);
  const { after, before, missing, detached } = gap.detail;
  assert.deepEqual([after, before, missing, detached], [id(512), id(600), 87, true]);
  assert.equal(next.detail.number, 600);
  // The next one that it misses is not detached.
  for (let count = got.length; count < 1200; count++) node.tell("status", { head: null });
  node.tell("block", block(601), null);
  await says({ confirmed: 512 });
  await says({ confirmed: 512 });
  node.tell("block", block(603), null);
  const [last] = got.filter(({ kind }) => kind === "gap").slice(-1);
  assert.deepEqual([last.detail.after, last.detail.detached], [id(600), false]);
});

test("a start that fails is told to all who wait, and the next client starts again", async () => {
  let attempts = 0;
  const { hub, node } = made({ fails: () => (attempts += 1) === 1 });
  const failed = await Promise.all([joined(hub), joined(hub)]);
  for (const { got } of failed)
    assert.deepEqual(got, [{ failed: { code: "worker", message: "it does not start" } }]);
  const { got } = await joined(hub);
  assert.deepEqual([kinds(got), node.starts], [["started"], 2]);
});

test("a crash is told to all, and the hub ends", async () => {
  const { hub, node, ended } = made();
  const clients = [await joined(hub), await joined(hub)];
  node.tell("crashed", "unreachable");
  for (const { got } of clients) assert.equal(got.at(-1).kind, "crashed");
  assert.deepEqual([ended(), node.stops], [1, 0]);
  await clients[0].says({ stop: true });
  assert.equal(kinds(clients[0].got).at(-1), "stopped");
});

test("there is a bound on the clients of a node", async () => {
  const { hub } = made();
  for (let count = 0; count < 256; count++) await joined(hub);
  const { got } = await joined(hub);
  assert.equal(got[0].failed.code, "option");
});

/** Sets global values. Returns a function that sets the old ones. */
function replace(values) {
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(values))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return () => {
    for (const [name, own] of before) {
      if (own) Object.defineProperty(globalThis, name, own);
      else delete globalThis[name];
    }
  };
}

test("the choice: a shared worker, a tab among others, or a worker of the tab", () => {
  class Fake extends EventTarget {
    port = Object.assign(new EventTarget(), { start() {} });
  }
  const names = ["SharedWorker", "Worker", "BroadcastChannel", "navigator"];
  const restore = replace(Object.fromEntries(names.map((name) => [name, globalThis[name]])));
  const set = (name, value) => (globalThis[name] = value);
  try {
    set("SharedWorker", Fake);
    set("Worker", Fake);
    set("navigator", { locks: {} });
    assert.ok(!(shared() instanceof Member) && !(shared() instanceof Fake));
    set("SharedWorker", undefined);
    assert.ok(shared() instanceof Member);
    set("BroadcastChannel", undefined);
    assert.ok(shared() instanceof Fake);
    set("BroadcastChannel", Fake);
    set("navigator", {});
    assert.ok(shared() instanceof Fake);
    set("SharedWorker", Fake);
    assert.ok(shared() instanceof Fake, "without locks each tab has its own node");
  } finally {
    restore();
  }
});

/** Globals with a shared worker whose port does what `hear(message, port)` does. */
function sharing(hear) {
  const locks = { request: async (_, hold) => hold() };
  class SharedWorker extends EventTarget {
    port = Object.assign(new EventTarget(), {
      start: () => {},
      close: () => {},
      got: [],
      says: (data) => this.port.dispatchEvent(new MessageEvent("message", { data })),
      postMessage: (message) => {
        this.port.got.push(structuredClone(message));
        queueMicrotask(() => hear(message, this.port));
      },
    });

    constructor() {
      super();
      SharedWorker.port = this.port;
    }
  }
  return { SharedWorker, navigator: { locks } };
}

test("a shared worker gets no compiled module, and the page learns what it can't send", async () => {
  const globals = sharing(() => {});
  const restore = replace(globals);
  try {
    const wasm = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const error = await failure(observe({ ...OPTIONS, worker: shared, wasm }));
    const said = "a shared worker can't take a compiled module: give `wasm` as a URL or bytes";
    assert.deepEqual([error.code, error.message], ["option", said]);
    assert.deepEqual(globals.SharedWorker.port.got, []);
    const worker = shared();
    const errors = [];
    worker.addEventListener("error", ({ message }) => errors.push(message));
    worker.postMessage({ ask: () => {} });
    worker.postMessage({ networkChanged: true });
    await until(() => globals.SharedWorker.port.got.length === 1);
    assert.match(errors[0], /could not be cloned/);
    assert.equal(errors.length, 1);
  } finally {
    restore();
  }
});

test("a port answers a message that can't be read", async () => {
  const { hub } = made();
  const got = [];
  const port = Object.assign(new EventTarget(), { start() {}, postMessage: (data) => got.push(data) });
  attend(port, () => hub);
  port.dispatchEvent(new MessageEvent("messageerror"));
  assert.deepEqual(kinds(got), ["failed"]);
  port.dispatchEvent(new MessageEvent("message", { data: { start: { key: "x" } } }));
  await until(() => got.length === 2);
  assert.deepEqual(got[1], { started: ABOUT });
});

test("a shared worker that gives no sign of life is told as a crash", async (t) => {
  const { hub } = made();
  let isDead = false;
  let attended;
  const globals = sharing((message, port) => {
    if (isDead) return;
    if (!attended) {
      attended = Object.assign(new EventTarget(), { start() {}, postMessage: port.says });
      attend(attended, () => hub);
    }
    attended.dispatchEvent(new MessageEvent("message", { data: message }));
  });
  const restore = replace(globals);
  t.mock.timers.enable({ apis: ["setInterval"] });
  const look = async (count) => {
    for (let index = 0; index < count; index++) {
      t.mock.timers.tick(5000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  try {
    const observer = await observe({ ...OPTIONS, worker: shared });
    await new Promise((resolve) => setTimeout(resolve));
    const errors = [];
    observer.on("error", ({ code, message }) => errors.push([code, message]));
    await look(20);
    isDead = true;
    await look(5);
    assert.deepEqual(errors, []);
    isDead = false;
    await look(5);
    isDead = true;
    await look(20);
    const said = "the node ended by a defect of its own: the shared worker gives no sign of life";
    assert.deepEqual([errors, observer.stopped], [[["crashed", said]], true]);
  } finally {
    restore();
    t.mock.timers.reset();
  }
});
