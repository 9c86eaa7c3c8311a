// A real browser against real native nodes: the package as a page uses it, in a worker, under a
// strict policy. browsers.test.mjs has what every browser is tested with.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Lab, Tab, launch, line, pause, portOf, same, serve, through } from "./support.mjs";

let lab, browser, server;
/** Options for the lab's chain. */
let chain;

before(async () => {
  [lab, browser, server] = await Promise.all([Lab.start(), launch(), serve()]);
  // Observers begin at the first block that they hear: usually the chain is older than the page.
  chain = { network: lab.chain.rollup, signer: lab.chain.signer };
  await lab.gateway("first");
  await lab.publish(3, 50);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await lab?.stop();
});

test("thirty blocks arrive in order, in a worker under a strict policy, with a silent console", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  const about = await tab.observe({ ...chain, peers: gateway.address, fromGenesis: true });
  assert.equal(about.network.chainId, lab.chain.chainId);
  assert.equal(about.network.signer, lab.chain.signer.toLowerCase());
  await tab.connected();
  const published = await lab.publish(30, 150);
  await tab.reached(published.at(-1).number);
  const shown = await tab.record("block");
  same(shown, published);
  const gossiped = shown.filter((block) => block.origin === "gossip");
  assert.ok(gossiped.length >= 30 && gossiped.every((block) => block.peer === gateway.peerId && block.validation > 0));
  // Every head is one of the blocks, and the last is the newest.
  assert.equal((await tab.record("head")).at(-1).hash, published.at(-1).hash);
  const { counters, iterated } = await tab.page.evaluate(async () => {
    const iterated = [];
    setTimeout(() => observer.stop(), 100);
    for await (const block of observer.blocks) iterated.push(block);
    return { counters: observer.counters, iterated: iterated.length };
  });
  assert.equal(iterated, 0, "blocks from now on; and it ends with the observer");
  assert.ok(counters.bytesIn > 0 && counters.memory > 0 && counters.accepted >= 30);
  assert.deepEqual([counters.rejected, counters.ignored], [{}, {}]);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("the same works on the page's own thread", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: [gateway.address], worker: false });
  await tab.connected();
  const published = await lab.publish(5, 100);
  await tab.reached(published.at(-1).number);
  same(await tab.record("block"), published);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("a killed gateway is noticed within five seconds, and redialled when it returns", async () => {
  const gateway = await lab.gateway("mortal");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: gateway.address });
  await tab.connected();
  const before = await lab.publish(2, 100);
  await tab.reached(before.at(-1).number);
  await lab.ask({ do: "kill", name: "mortal" });
  await tab.until(() => observer.peers[0].state !== "connected", null, 5);
  await tab.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 10);
  const again = await lab.gateway("mortal");
  assert.equal(again.address, gateway.address);
  await tab.connected();
  const after = await lab.publish(3, 300);
  await tab.reached(after.at(-1).number);
  same(await tab.record("block"), [...before, ...after]);
  await tab.close();
});

test("a line that falls silent is noticed within five seconds", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await tab.connected();
  await pause(3000);
  assert.equal((await tab.peers())[0].state, "connected", "a quiet one is not a silent one");
  wire.silence();
  await tab.until(() => record.peer.some((peer) => peer.what === "silent"), null, 5);
  wire.mend();
  await tab.connected();
  await tab.close();
  await wire.stop();
});

test("a slow line that carries a large block is not a silent one", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address), 15e3);
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await tab.connected();
  await tab.page.evaluate(() => {
    window.longest = 0;
    observer.on("status", ({ peers }) => (longest = Math.max(longest, peers[0].roundTrip)));
  });
  // Until the answer to a ping has waited behind a block for longer than a gateway may be silent.
  for (let round = 0; round < 40 && (await tab.page.evaluate(() => longest)) < 4000; round += 1) {
    const [block] = await lab.publish(1, 1);
    await tab.reached(block.number, 60);
  }
  assert.ok((await tab.page.evaluate(() => longest)) >= 4000, "there was a large block");
  const ends = (await tab.record("peer")).filter((peer) => ["silent", "disconnected"].includes(peer.what));
  assert.deepEqual(ends, []);
  await tab.close();
  await wire.stop();
});

test("an address without a listener and one that never answers are reported within five seconds", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  wire.silence();
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, 9) });
  await tab.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5);
  // As an error it is told once, with what a developer can check.
  await tab.until(() => record.peer.filter((peer) => peer.what === "unreachable").length >= 3);
  const errors = await tab.record("error");
  assert.deepEqual(errors.map((error) => error.code), ["unreachable"]);
  for (const cause of ["port", "connect-src", "certificate", gateway.peerId]) assert.ok(errors[0].message.includes(cause), errors[0].message);
  const mute = await Tab.open(browser, server.url);
  await mute.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await mute.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5.5);
  assert.match((await mute.peers())[0].reason, /no answer/);
  await tab.close();
  await mute.close();
  await wire.stop();
});

test("when the network or the reader returns, waiting gateways are dialled at once", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, 9) });
  for (const [target, event] of [["window", "online"], ["document", "visibilitychange"]]) {
    // Wait until the next redial is later than this test: the waits are 1, 1.5, 2.2 and 3.4 s, less
    // a quarter.
    await tab.until(() => record.peer.filter((peer) => peer.what === "unreachable").length % 5 === 4, null, 20);
    const before = await tab.page.evaluate(
      ([target, event]) => {
        const before = record.peer.length;
        globalThis[target].dispatchEvent(new Event(event));
        return before;
      },
      [target, event],
    );
    await tab.until((before) => record.peer[before]?.what === "dialling", before, 1);
    await tab.until((before) => record.peer[before + 1]?.what === "unreachable", before, 5);
  }
  await tab.close();
});

test("a gateway whose identity differs from its address is rejected", async () => {
  const [one, other] = [await lab.gateway("a"), await lab.gateway("first")];
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(one.address, portOf(other.address)) });
  await tab.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5);
  await tab.until(() => record.error.some((error) => error.code === "wrong-peer"));
  assert.equal((await tab.record("peer")).find((peer) => peer.what === "unreachable").reasonCode, "wrong-peer");
  await tab.close();
});

for (const lie of ["forged", "stale", "garbage"]) {
  test(`one of two gateways sends ${lie} messages: it is dropped, and nothing false is shown`, async () => {
    const [honest, liar] = [await lab.gateway("a"), await lab.ask({ do: "liar", name: lie, lie })];
    const tab = await Tab.open(browser, server.url);
    await tab.observe({ ...chain, peers: [liar.address, honest.address] });
    // A good block shows that the clock is right: stale ones are only ignored before. So are blocks
    // of another key, until two later blocks show that the signer has not changed.
    await tab.until((honest) => observer.peers.find((peer) => peer.id === honest)?.inMesh, honest.peerId);
    const first = await lab.publish(3, 1500);
    await tab.reached(first.at(-1).number);
    await tab.until((liar) => observer.peers.find((peer) => peer.id === liar)?.state === "banned", liar.peerId, 120);
    await tab.connected();
    const published = await lab.publish(10, 150);
    await tab.reached(published.at(-1).number);
    same(await tab.record("block"), published);
    const peers = await tab.peers();
    assert.deepEqual(peers.map((peer) => [peer.id, peer.state]).sort(), [[honest.peerId, "connected"], [liar.peerId, "banned"]].sort());
    const rejected = await tab.record("rejected");
    assert.ok(rejected.length > 0 && rejected.every((message) => message.peer === liar.peerId));
    const rules = { forged: ["signer_in_doubt", "wrong_signer"], stale: ["clock_in_doubt", "too_old"], garbage: ["payload"] };
    for (const { rule, verdict } of rejected) {
      assert.ok(rules[lie].includes(rule), rule);
      assert.equal(verdict, rule.endsWith("_in_doubt") ? "ignore" : "reject");
    }
    assert.ok(peers.find((peer) => peer.id === liar.peerId).bannedUntil > Date.now() / 1000);
    await tab.close();
  });
}

test("wss: an encrypted gateway, from a page over https", async () => {
  const tls = await lab.ask({ do: "certificate" });
  const [gateway, secure] = [await lab.gateway("encrypted", tls), await serve({ tls })];
  assert.match(gateway.address, /\/(wss|tls\/ws)\/p2p\//);
  const tab = await Tab.open(browser, secure.url);
  await tab.observe({ ...chain, peers: gateway.address });
  await tab.connected();
  const published = await lab.publish(5, 100);
  await tab.reached(published.at(-1).number);
  same(await tab.record("block"), published);
  const insecure = await tab.observe({ ...chain, peers: gateway.address.replace(/127\.0\.0\.1.*\/p2p/, "10.1.2.3/tcp/9223/ws/p2p") });
  assert.equal(insecure.failed.code, "insecure");
  await tab.close();
  await secure.stop();
});

test("twenty tabs on one gateway get every block", async () => {
  const gateway = await lab.gateway("busy");
  const tabs = await Promise.all(Array.from({ length: 20 }, () => Tab.open(browser, server.url)));
  await Promise.all(tabs.map((tab) => tab.observe({ ...chain, peers: gateway.address })));
  await Promise.all(tabs.map((tab) => tab.connected()));
  assert.deepEqual(await lab.ask({ do: "peers", name: "busy" }), { nodes: 1, browsers: 20 });
  const published = await lab.publish(10, 300);
  for (const tab of tabs) {
    await tab.reached(published.at(-1).number);
    const shown = await tab.record("block");
    same(shown, published);
    const gossiped = shown.filter((block) => block.number >= published[0].number);
    assert.ok(gossiped.every((block) => block.origin === "gossip"), "none had to be asked for");
  }
  await Promise.all(tabs.map((tab) => tab.close()));
});

test("a stopped observer leaves its gateway, and another one starts afresh", async () => {
  const gateway = await lab.gateway("left");
  const tab = await Tab.open(browser, server.url);
  const first = await tab.observe({ ...chain, peers: gateway.address });
  await tab.connected();
  assert.equal((await lab.ask({ do: "peers", name: "left" })).browsers, 1);
  await tab.page.evaluate(() => Promise.all([observer.stop(), observer.stop()]));
  await pause(500);
  assert.equal((await lab.ask({ do: "peers", name: "left" })).browsers, 0);
  assert.ok(await tab.page.evaluate(() => observer.stopped));
  const second = await tab.observe({ ...chain, peers: gateway.address });
  await tab.connected();
  assert.notEqual(second.peerId, first.peerId);
  const aborted = await tab.page.evaluate(async (options) => {
    const { observe } = await import("/index.js");
    const control = new AbortController();
    const observer = await observe({ ...options, signal: control.signal });
    control.abort();
    const before = await observe({ ...options, signal: AbortSignal.abort() }).catch((error) => error.name);
    return [observer.stopped, before];
  }, { ...chain, peers: gateway.address });
  assert.deepEqual(aborted, [true, "AbortError"]);
  await tab.close();
});

test("a kept identity survives the page", async () => {
  const gateway = await lab.gateway("a");
  const context = await browser.newContext();
  const options = { ...chain, peers: gateway.address, identity: "persistent" };
  const first = await Tab.open(context, server.url);
  const { peerId } = await first.observe(options);
  await first.page.evaluate(() => observer.stop());
  const again = await first.observe(options);
  assert.equal(again.peerId, peerId);
  await first.close();
  const later = await Tab.open(context, server.url);
  assert.equal((await later.observe(options)).peerId, peerId);
  assert.notEqual((await later.observe({ ...options, identity: "fresh" })).peerId, peerId);
  await context.close();
});

/** Reads or writes the identity that the page keeps. */
async function identity(given) {
  const settled = (request) =>
    new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  const opening = indexedDB.open("opp2p", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("identity");
  const opened = await settled(opening);
  const store = opened.transaction("identity", "readwrite").objectStore("identity");
  if (given) await settled(store.put(new Uint8Array(given), "node"));
  const found = await settled(store.get("node"));
  opened.close();
  return [...found];
}

test("of two observers with one identity each is told that the other replaces it", async () => {
  const gateway = await lab.gateway("a");
  const contexts = [await browser.newContext(), await browser.newContext()];
  const tabs = [];
  for (const context of contexts) tabs.push(await Tab.open(context, server.url));
  const options = { ...chain, peers: gateway.address, identity: "persistent" };
  const { peerId } = await tabs[0].observe(options);
  // The other is a copy of the browser's profile.
  await tabs[1].page.evaluate(identity, await tabs[0].page.evaluate(identity));
  assert.equal((await tabs[1].observe(options)).peerId, peerId);
  for (const tab of tabs) {
    await tab.until(() => record.error.some((error) => error.code === "replaced"), null, 60);
    // The gateway says so the first time that it closes the connection.
    const [end] = (await tab.record("peer")).filter((peer) => peer.what === "disconnected");
    assert.equal(end.reasonCode, "replaced");
  }
  // The other one is dialled again, and takes the place in turn: each is told once.
  await tabs[0].until(() => record.peer.filter((peer) => peer.what === "disconnected").length > 1, null, 60);
  for (const tab of tabs) assert.deepEqual((await tab.record("error")).map((error) => error.code), ["replaced"]);
  await Promise.all(contexts.map((context) => context.close()));
});

test("an observer that leaves its dead line for a new one is not told that it is replaced", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await tab.connected();
  wire.strand();
  await tab.until(() => record.peer.filter((peer) => peer.what === "connected").length === 2, null, 10);
  await tab.connected();
  const [block] = await lab.publish(1, 1);
  await tab.reached(block.number);
  assert.deepEqual((await tab.record("error")).map((error) => error.code), []);
  await tab.close();
  await wire.stop();
});

test("a block that was handed on, and the head above a gap, can be had again", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: gateway.address });
  await tab.connected();
  const published = await lab.publish(3, 50);
  await tab.reached(published.at(-1).number);
  const { number, hash } = published[1];
  const [reported] = (await tab.record("block")).filter((block) => block.number === number);
  for (const at of [number, hash]) {
    const { found, rpc, same } = await tab.page.evaluate(async (at) => {
      const block = await observer.getBlock(at);
      const again = await observer.getBlock(block.hash);
      const { number, hash, parentHash, receivedAt, peer, origin, transactionHashes } = block;
      const rpc = await observer.decode(block);
      return { found: { number, hash, parentHash, receivedAt, peer, origin }, rpc: [rpc.hash, rpc.transactions.map(({ hash }) => hash).join() === transactionHashes.join()], same: JSON.stringify(block) === JSON.stringify(again) };
    }, at);
    const { parentHash, receivedAt, peer, origin } = reported;
    assert.deepEqual(found, { number, hash, parentHash, receivedAt, peer, origin });
    assert.deepEqual([rpc, same], [[hash, true], true]);
  }
  const unknown = await tab.page.evaluate(async (top) => [await observer.getBlock(top + 100), await observer.getBlock(`0x${"ab".repeat(32)}`)], published.at(-1).number);
  assert.deepEqual(unknown, [null, null]);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("a page that was cut off for four hundred blocks gets them in ranges", async () => {
  const gateway = await lab.gateway("ranges");
  const wire = await line(portOf(gateway.address));
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port), fromGenesis: true, maxGap: 2000 });
  await tab.connected();
  const before = await lab.publish(3, 50);
  await tab.reached(before.at(-1).number);
  wire.cut();
  const missed = await lab.publish(400, 8);
  wire.mend();
  await tab.connected();
  const after = await lab.publish(1, 50);
  await tab.reached(after.at(-1).number, 60);
  same(await tab.record("block"), [...before, ...missed, ...after]);
  const { blocks } = await lab.ask({ do: "served", name: "ranges" });
  assert.ok(blocks >= 350, `${blocks} blocks came in ranges`);
  assert.deepEqual(tab.noise, []);
  await tab.close();
  await wire.stop();
});

test("a gateway that restarts has replaced no connection", async () => {
  const gateway = await lab.gateway("restarted");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: gateway.address });
  for (let round = 0; round < 2; round += 1) {
    await tab.connected();
    await lab.ask({ do: "kill", name: "restarted" });
    await tab.until(() => observer.peers[0].state !== "connected");
    await tab.until(() => observer.peers[0].reasonCode === "unreachable");
    await lab.gateway("restarted");
  }
  await tab.connected();
  assert.deepEqual((await tab.record("error")).filter((error) => error.code === "replaced"), []);
  await tab.close();
});

test("a gateway of another chain and an unused signer are reported", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  const network = { ...lab.chain.rollup, l2_chain_id: 902 };
  await tab.observe({ ...chain, network, peers: gateway.address });
  await tab.until(() => record.error.some((error) => error.code === "wrong-network"), null, 10);
  const signer = "0x00000000000000000000000000000000000000aa";
  await tab.observe({ ...chain, signer, peers: gateway.address });
  await tab.connected();
  await lab.publish(1, 1);
  await tab.until(() => record.error.some((error) => error.code === "wrong-signer"), null, 10);
  assert.deepEqual(await tab.record("block"), []);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

const WRONG = "0x00000000000000000000000000000000000000aa";

for (const worker of [true, false]) {
  test(`${worker ? "in a worker" : "on the page's own thread"} a signer that has changed is read again, and no gateway is blamed`, async () => {
    const gateway = await lab.gateway("a");
    const tab = await Tab.open(browser, server.url);
    await tab.observe({ ...chain, signer: WRONG, reads: lab.chain.signer, peers: gateway.address, worker });
    await tab.connected();
    await lab.publish(3, 100);
    await tab.until(() => record.signer.length === 1);
    const signer = lab.chain.signer.toLowerCase();
    const { changed, network, asked } = await tab.page.evaluate(() => ({ changed: record.signer[0], network: observer.network, asked }));
    assert.deepEqual([changed.signer, changed.previous, network.signer, asked], [signer, WRONG, signer, 1]);
    const published = await lab.publish(3, 100);
    await tab.reached(published.at(-1).number);
    same(await tab.record("block"), published);
    const [peer] = await tab.peers();
    assert.deepEqual([peer.state, peer.rejected], ["connected", 0]);
    // A rotation that was read at once is not an error. It may be a trouble, which ends.
    assert.deepEqual(await tab.record("error"), []);
    await tab.until(() => !observer.troubles.some((trouble) => trouble.kind === "signer_wrong"), null, 180);
    assert.deepEqual(tab.noise, []);
    await tab.close();
  });
}

test("the page reads config.json again when the signer has changed, and goes on without a reload", async () => {
  const gateway = await lab.gateway("a");
  let asked = 0;
  const config = () => ({ ...chain, name: "lab", peers: [gateway.address], signer: (asked += 1) > 1 ? lab.chain.signer : WRONG });
  const site = await serve({ config });
  const tab = await Tab.open(browser, site.url);
  const wait = (condition, argument) => tab.page.waitForFunction(condition, argument, { timeout: 60_000 });
  await wait(() => window.opp2p?.observer?.peers.some((peer) => peer.inMesh));
  await tab.page.evaluate(() => (window.isSame = true));
  await lab.publish(3, 100);
  await wait((signer) => opp2p.observer.network.signer === signer, lab.chain.signer.toLowerCase());
  const published = await lab.publish(3, 100);
  await wait((number) => (opp2p.observer.head?.number ?? 0) >= number, published.at(-1).number);
  assert.equal(await tab.page.evaluate(() => window.isSame), true, "it is the same page");
  assert.equal(asked, 2);
  assert.match(await tab.page.locator("#events").innerText(), /New signer/);
  assert.equal(await tab.page.locator("#notice").isVisible(), false);
  await tab.close();
  await site.stop();
});

test("a page without a known signer waits until it is read, and reports it", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  const unknown = { network: lab.chain.rollup, peers: gateway.address };
  assert.equal((await tab.observe(unknown)).failed.code, "signer");
  const { network } = await tab.observe({ ...unknown, reads: null });
  assert.equal(network.signer, null);
  await tab.until(() => record.trouble.some((trouble) => trouble.kind === "signer_unknown"));
  const [trouble] = await tab.page.evaluate(() => observer.troubles.filter((trouble) => trouble.kind === "signer_unknown"));
  assert.ok(trouble.text.length > 20 && trouble.remedy.includes("`signer`"), JSON.stringify(trouble));
  assert.ok(trouble.since > 1.7e9 && trouble.last >= trouble.since);
  await tab.observe({ ...unknown, reads: "nobody" });
  await tab.until(() => record.error.some((error) => error.code === "signer" && error.message.includes("not an address")));
  await tab.close();
});

test("a gateway that can't be reached is a trouble until it can", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  wire.cut();
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await tab.until(() => observer.troubles.some((trouble) => trouble.kind === "no_peers"), null, 120);
  const began = (await tab.record("trouble")).find((trouble) => trouble.kind === "no_peers");
  assert.equal(began.text, "No gateway is connected, so no block arrives");
  wire.mend();
  await tab.until(() => record["trouble-ended"].some((trouble) => trouble.kind === "no_peers"), null, 120);
  assert.ok(await tab.page.evaluate(() => !observer.troubles.some((trouble) => trouble.kind === "no_peers")));
  await tab.close();
  await wire.stop();
});

test("a wrong clock of the visitor's machine is reported", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  // Only the page's own thread has the wrong clock, so the node runs there.
  await tab.page.evaluate(() => {
    const { now } = Date;
    Date.now = () => now() - 3_600_000;
  });
  await tab.observe({ ...chain, peers: gateway.address, worker: false });
  await tab.connected();
  // It takes blocks at the chain's pace: some in a hurry could be a replay.
  await lab.publish(8, 1000);
  await tab.until(() => observer.troubles.some((trouble) => trouble.kind === "clock"), null, 60);
  const [trouble] = await tab.page.evaluate(() => observer.troubles.filter((trouble) => trouble.kind === "clock"));
  assert.match(trouble.text, /clock of this device .* behind/);
  await tab.close();
});

test("invalid options are an error with a code, and nothing else happens", async () => {
  const gateway = await lab.gateway("a");
  const good = { ...chain, peers: gateway.address };
  const tab = await Tab.open(browser, server.url);
  for (const [wrong, code] of [
    [{ ...good, network: "no such chain" }, "network"],
    [{ ...good, network: {} }, "network"],
    [{ ...good, network: null }, "network"],
    [{ ...good, peers: [] }, "address"],
    [{ ...good, peers: "/ip4/127.0.0.1/tcp/1" }, "address"],
    [{ ...good, peers: "wss://gateway.example" }, "address"],
    [{ ...good, peers: gateway.address.replace(/\/p2p\/.*/, "") }, "address"],
    [{ ...good, peers: 7 }, "address"],
    [{ ...good, signer: "0x12" }, "signer"],
    [{ ...good, signer: null }, "signer"],
    [{ ...good, reads: null, signer: "0x12" }, "signer"],
    [{ ...good, rpc: 7 }, "option"],
    [{ ...good, rpc: "rpc.example" }, "option"],
    [{ ...good, rpc: "wss://rpc.example" }, "option"],
    [{ ...good, rpc: "https://user:key@rpc.example" }, "option"],
    [{ ...good, rpc: Array(9).fill("https://rpc.example") }, "option"],
    [{ ...good, gapMemory: 1 }, "option"],
    [{ ...good, gapPatience: "soon" }, "option"],
    [{ ...good, identity: "mine" }, "option"],
    [{ ...good, typo: true }, "option"],
    [null, "option"],
  ]) {
    for (const worker of [true, false]) {
      const { failed } = await tab.observe(wrong && { ...wrong, worker });
      assert.equal(failed?.code, code, JSON.stringify(wrong));
      assert.equal(failed.name, "ObserverError");
      assert.ok(failed.message.length > 15, failed.message);
    }
  }
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("a policy that forbids WebAssembly or workers is named", async () => {
  const gateway = await lab.gateway("a");
  for (const [policy, worker, code] of [
    ["default-src 'self'; connect-src 'self' ws:", true, "webassembly"],
    ["default-src 'self'; connect-src 'self' ws:", false, "webassembly"],
    ["default-src 'self' 'wasm-unsafe-eval'; worker-src 'none'; connect-src 'self' ws:", true, "worker"],
  ]) {
    const strict = await serve({ policy });
    const tab = await Tab.open(browser, strict.url);
    const { failed } = await tab.observe({ ...chain, peers: gateway.address, worker });
    assert.equal(failed?.code, code, failed?.message);
    // The browser itself reports violations of the policy; no error goes uncaught.
    assert.deepEqual(tab.noise.filter((text) => text.startsWith("uncaught")), []);
    await tab.close();
    await strict.stop();
  }
});

test("a browser without WebAssembly gets an explanation", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  await tab.page.evaluate(() => delete globalThis.WebAssembly);
  const { failed } = await tab.observe({ ...chain, peers: gateway.address, worker: false });
  assert.equal(failed?.code, "webassembly");
  await tab.close();
});

test("a message is judged without an observer", async () => {
  const tab = await Tab.open(browser, server.url);
  const { report, wrong } = await tab.page.evaluate(async (network) => {
    const { inspect } = await import("/index.js");
    const report = await inspect(network, 4, new Uint8Array(9).fill(255), Date.now());
    const wrong = await inspect(network, 9, new Uint8Array(9), Date.now()).catch((error) => error.code);
    return { report, wrong };
  }, "base");
  assert.deepEqual([report.verdict, report.reason, wrong], ["reject", "snappy_header", "option"]);
  await tab.close();
});
