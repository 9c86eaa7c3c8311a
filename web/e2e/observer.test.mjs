// A real browser against real native nodes: the package as a page uses it, in a worker, under a strict policy.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Lab, Tab, launch, line, pause, portOf, serve, through } from "./support.mjs";

let lab, browser, server;
/** Options for the lab's chain. */
let chain;

before(async () => {
  [lab, browser, server] = await Promise.all([Lab.start(), launch(), serve()]);
  // They begin at the first block that they hear: a chain that began before its page is the common case.
  chain = { network: lab.chain.rollup, signer: lab.chain.signer };
  await lab.gateway("first");
  await lab.publish(3, 50);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await lab?.stop();
});

/** Blocks as published, and nothing else, in their order. */
function same(shown, published) {
  const wanted = new Map(published.map((block) => [block.number, block]));
  const ours = shown.filter((block) => wanted.has(block.number));
  assert.deepEqual(ours.map((block) => [block.number, block.hash]), published.map((block) => [block.number, block.hash]));
  for (const block of ours) assert.equal(block.transactions, wanted.get(block.number).bytes);
  shown.slice(1).forEach((block, index) => {
    assert.equal(block.number, shown[index].number + 1, "each position once, in order");
    assert.equal(block.parentHash, shown[index].hash);
  });
}

test("thirty blocks arrive in order, in a worker under a strict policy, without a sound", async () => {
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

test("on the page's own thread it does the same", async () => {
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

test("blocks that were missed while the line was cut are fetched, and come in order", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await tab.connected();
  const before = await lab.publish(2, 100);
  await tab.reached(before.at(-1).number);
  wire.cut();
  await tab.until(() => observer.peers[0].state !== "connected", null, 5);
  const missed = await lab.publish(20, 50);
  assert.equal(await tab.page.evaluate(() => observer.head.number), before.at(-1).number);
  wire.mend();
  await tab.connected();
  const after = await lab.publish(2, 500);
  await tab.reached(after.at(-1).number);
  const shown = await tab.record("block");
  same(shown, [...before, ...missed, ...after]);
  const fetched = shown.filter((block) => block.origin === "request");
  assert.ok(fetched.length >= 19, `${fetched.length} of the missed blocks were asked for`);
  const gaps = await tab.record("gap");
  assert.deepEqual([gaps[0].state, gaps.at(-1).state, gaps.at(-1).reason], ["opened", "closed", "filled"]);
  assert.deepEqual(tab.noise.filter((text) => !text.includes("WebSocket connection")), []);
  await tab.close();
  await wire.stop();
});

test("a gateway that is killed is noticed within five seconds, and found again when it is back", async () => {
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

test("an address where nobody listens is told within five seconds, and so is one that never answers", async () => {
  const gateway = await lab.gateway("a");
  const wire = await line(portOf(gateway.address));
  wire.silence();
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, 9) });
  await tab.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5);
  const mute = await Tab.open(browser, server.url);
  await mute.observe({ ...chain, peers: through(gateway.address, wire.port) });
  await mute.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5.5);
  assert.match((await mute.peers())[0].reason, /no answer/);
  await tab.close();
  await mute.close();
  await wire.stop();
});

test("when the network or the reader is back, nobody waits to be dialled", async () => {
  const gateway = await lab.gateway("a");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(gateway.address, 9) });
  for (const [target, event] of [["window", "online"], ["document", "visibilitychange"]]) {
    // Until it waits longer than this test: 1, 1.5, 2.2 and 3.4 s, less a quarter.
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

test("a gateway with another identity than the address says is no gateway", async () => {
  const [one, other] = [await lab.gateway("a"), await lab.gateway("first")];
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(one.address, portOf(other.address)) });
  await tab.until(() => record.peer.some((peer) => peer.what === "unreachable"), null, 5);
  await tab.close();
});

for (const lie of ["forged", "stale", "garbage"]) {
  test(`one of two gateways sends ${lie} messages: it is dropped, and nothing false is shown`, async () => {
    const [honest, liar] = [await lab.gateway("a"), await lab.ask({ do: "liar", name: lie, lie })];
    const tab = await Tab.open(browser, server.url);
    await tab.observe({ ...chain, peers: [liar.address, honest.address] });
    await tab.until((liar) => observer.peers.find((peer) => peer.id === liar)?.state === "banned", liar.peerId, 15);
    await tab.connected();
    const published = await lab.publish(10, 150);
    await tab.reached(published.at(-1).number);
    same(await tab.record("block"), published);
    const peers = await tab.peers();
    assert.deepEqual(peers.map((peer) => [peer.id, peer.state]).sort(), [[honest.peerId, "connected"], [liar.peerId, "banned"]].sort());
    const rejected = await tab.record("rejected");
    assert.ok(rejected.length > 0 && rejected.every((message) => message.peer === liar.peerId));
    const rules = { forged: "wrong_signer", stale: "too_old", garbage: "payload" };
    for (const { rule, verdict } of rejected) {
      assert.equal(rule, rules[lie]);
      assert.equal(verdict, "reject");
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

test("a stopped observer leaves its gateway, and another begins anew", async () => {
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
    const before = await observe({ ...options, signal: AbortSignal.abort() }).catch((error) => error.code);
    return [observer.stopped, before];
  }, { ...chain, peers: gateway.address });
  assert.deepEqual(aborted, [true, "stopped"]);
  await tab.close();
});

test("an identity that is to be kept outlives the page", async () => {
  const gateway = await lab.gateway("a");
  const context = await browser.newContext();
  const options = { ...chain, peers: gateway.address, identity: "persistent" };
  const first = await Tab.open(context, server.url);
  const { peerId } = await first.observe(options);
  const again = await first.observe(options);
  assert.equal(again.peerId, peerId);
  await first.close();
  const later = await Tab.open(context, server.url);
  assert.equal((await later.observe(options)).peerId, peerId);
  assert.notEqual((await later.observe({ ...options, identity: "fresh" })).peerId, peerId);
  await context.close();
});

test("a gateway of another chain and a signer that nobody is are told of", async () => {
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

test("what makes no sense is an error with a code, and nothing else happens", async () => {
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
    // The browser itself reports what the policy forbids; nothing goes uncaught.
    assert.deepEqual(tab.noise.filter((text) => text.startsWith("uncaught")), []);
    await tab.close();
    await strict.stop();
  }
});

test("a browser without WebAssembly is told so", async () => {
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
