// Tabs of one origin that share a node, in a real browser: in a shared worker, and without one in a
// tab that leads the others. The leader is closed, stops, crashes and is frozen.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Lab, Tab, launch, same, serve } from "./support.mjs";

let lab, browser, server, gateway, context;

before(async () => {
  [lab, browser, server] = await Promise.all([Lab.start(), launch(), serve()]);
  gateway = await lab.gateway("first");
  await lab.publish(1, 1);
});

afterEach(() => context?.close());

after(async () => {
  await browser?.close();
  await server?.stop();
  await lab?.stop();
});

/** Opens tabs whose observers share a node, in a shared worker unless the tabs are to lead. */
async function opened(count, { leads = true } = {}) {
  context = await browser.newContext();
  if (leads) await context.addInitScript(() => delete globalThis.SharedWorker);
  const { rollup, signer } = lab.chain;
  const tabs = [];
  for (let index = 0; index < count; index++) {
    const tab = await Tab.open(context, server.url);
    tabs.push(tab);
    await tab.page.evaluate(
      async (given) => {
        const { observe } = await import("/index.js");
        const { shared } = await import("/shared.js");
        const observer = await observe({ ...given, worker: shared });
        const record = { block: [], gap: [], error: [] };
        observer.on("block", ({ number, hash, parentHash, transactions }) => {
          const bytes = transactions.reduce((sum, raw) => sum + raw.length, 0);
          record.block.push({ number, hash, parentHash, transactions: bytes });
        });
        observer.on("gap", (gap) => record.gap.push(gap));
        observer.on("error", ({ code, message }) => record.error.push({ code, message }));
        Object.assign(window, { observer, record });
      },
      { network: rollup, signer, peers: gateway.address },
    );
  }
  await connected(tabs);
  return tabs;
}

const peerId = (tab) => tab.page.evaluate(() => observer.peerId);

/** Waits until all tabs have one node, not `old`, and a gateway serves it. Resolves to its id. */
async function connected(tabs, old = null) {
  const condition = (old) => {
    const isServed = observer.peers.some((peer) => peer.state === "connected" && peer.inMesh);
    return observer.peerId !== old && isServed;
  };
  for (const tab of tabs) await tab.until(condition, old, 60);
  const ids = await Promise.all(tabs.map(peerId));
  assert.equal(new Set(ids).size, 1);
  return ids[0];
}

/** Publishes blocks, with `act` meanwhile. */
async function publish(seen, count = 3, act = () => {}) {
  const [published] = await Promise.all([lab.publish(count, 100), act()]);
  seen.push(...published);
}

/** Checks that each tab has each of the blocks once, in order and linked. */
async function have(tabs, seen) {
  for (const tab of tabs) {
    await tab.reached(seen.at(-1).number, 60);
    same(await tab.record("block"), seen);
    assert.deepEqual(await tab.record("error"), []);
    const skipped = (await tab.record("gap")).filter(({ state }) => state === "skipped");
    assert.deepEqual(skipped, []);
  }
}

/** Checks that a tab has the blocks, except those that one `skipped` gap reports. */
async function follows(tab, seen) {
  await tab.reached(seen.at(-1).number, 60);
  const [shown, gaps] = [await tab.record("block"), await tab.record("gap")];
  const [above, more] = gaps.filter(({ state }) => state === "skipped");
  assert.equal(more, undefined);
  const all = () => true;
  const below = ({ number }) => number <= above.after.number;
  const beyond = ({ number }) => number >= above.before.number;
  for (const part of above ? [below, beyond] : [all]) same(shown.filter(part), seen.filter(part));
}

/** The tab that runs the node in a worker of its own. */
function leader(tabs) {
  const [first, ...more] = tabs.filter(({ page }) => page.workers().length > 0);
  assert.ok(first && more.length === 0, "one tab has a worker");
  return first;
}

for (const leads of [false, true]) {
  const where = leads ? "one of them" : "a shared worker";
  test(`ten tabs share one node in ${where}, and each gets every block`, async () => {
    const tabs = await opened(10, { leads });
    const seen = [];
    let node = await peerId(tabs[0]);
    if (leads) assert.equal(leader(tabs), tabs[0]);
    await publish(seen);
    await have(tabs, seen);
    // The first one's page is gone without a word while blocks arrive.
    await publish(seen, 10, () => tabs.shift().close());
    node = await connected(tabs, leads ? node : null);
    if (leads) assert.equal(leader(tabs), tabs[0]);
    await publish(seen);
    await have(tabs, seen);
    // The second one stops.
    const second = tabs.shift();
    await publish(seen, 10, () => second.page.evaluate(() => observer.stop()));
    await second.close();
    await connected(tabs, leads ? node : null);
    await publish(seen);
    await have(tabs, seen);
    // All others but one stop.
    for (const tab of tabs.slice(1)) await tab.page.evaluate(() => observer.stop());
    tabs.splice(1);
    await connected(tabs);
    await publish(seen);
    await have(tabs, seen);
    assert.deepEqual(tabs[0].noise, []);
  });
}

test("when the leader's tab crashes, the others go on", async () => {
  const tabs = await opened(4);
  const seen = [];
  await publish(seen);
  await have(tabs, seen);
  const node = await peerId(tabs[0]);
  const crashed = new Set();
  for (const tab of tabs) tab.page.on("crash", () => crashed.add(tab));
  const session = await context.newCDPSession(leader(tabs).page);
  await publish(seen, 10, () => {
    // A page that has crashed gives no answer.
    session.send("Page.crash").catch(() => {});
  });
  assert.ok(crashed.size > 0, "the page has crashed");
  // Tabs of one origin can share a process.
  const others = tabs.filter((tab) => !crashed.has(tab));
  assert.ok(others.length > 0, "a tab is left");
  await connected(others, node);
  leader(others);
  await publish(seen);
  await have(others, seen);
});

test("when the leader's tab is frozen, the others go on, and it follows later", async () => {
  const tabs = await opened(4);
  const seen = [];
  await publish(seen);
  await have(tabs, seen);
  const node = await peerId(tabs[0]);
  const [first, ...others] = tabs;
  // A headless browser freezes no page that is shown, so the tab gets the events alone.
  const turn = (type) =>
    first.page.evaluate((type) => void document.dispatchEvent(new Event(type)), type);
  await publish(seen, 10, () => turn("freeze"));
  const next = await connected(others, node);
  await publish(seen);
  await have(others, seen);
  await turn("resume");
  assert.equal(await connected([first], node), next);
  leader(others);
  await publish(seen);
  await have(others, seen);
  await follows(first, seen);
});

test("a halted tab that does not lead learns what it missed when it goes on", async () => {
  const tabs = await opened(3);
  const [first, halted, third] = tabs;
  const seen = [];
  await publish(seen);
  await have(tabs, seen);
  const session = await context.newCDPSession(halted.page);
  await session.send("Debugger.enable");
  await session.send("Debugger.pause");
  await publish(seen);
  await have([first, third], seen);
  await session.send("Debugger.resume");
  await session.send("Debugger.disable");
  await publish(seen);
  await have([first, third], seen);
  await follows(halted, seen);
  assert.equal(leader(tabs), first);
});
