// What a user of the page must never wait for, in Chromium and in Firefox. Each scenario reports the
// seconds until the newest head shows. WebKit opens the page alone. OPP2P_BROWSERS names the
// browsers, by default all.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchFirefox } from "./firefox.mjs";
import { Lab, Tab, launch, line, portOf, same, serve, through } from "./support.mjs";
import { launchWebKit } from "./webkit.mjs";

const LAUNCH = { chromium: launch, firefox: launchFirefox, webkit: launchWebKit };
const NAMES = (process.env.OPP2P_BROWSERS ?? Object.keys(LAUNCH).join(" ")).split(" ");
/** Seconds for anything to happen. A machine that is busy may need them. */
const PATIENCE = 60;

let lab, server, chain;
const browsers = {};

before(async () => {
  [lab, server] = await Promise.all([Lab.start(), serve()]);
  chain = { network: lab.chain.rollup, signer: lab.chain.signer };
  // A gateway that starts later fetches the whole chain first, and serves no block until then.
  await lab.gateway("whole");
  await lab.gateway("narrow", undefined, 1);
  await lab.publish(3, 50);
  for (const name of NAMES) browsers[name] = await LAUNCH[name]();
});

after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  await server?.stop();
  await lab?.stop();
});

/** Waits until a tab shows a head above a number. Returns the seconds from a time until it did. */
async function headAbove(tab, number, since) {
  await tab.until((number) => record.head.some((head) => head.number > number), number, PATIENCE);
  const at = await tab.page.evaluate((number) => record.head.find((head) => head.number > number).at, number);
  return (at - since) / 1000;
}

/** Opens a tab with an observer at the end of a line to the gateway that serves the whole chain. */
async function atTheEndOf(wire, browser, options = {}) {
  const { address } = await lab.gateway("whole");
  const tab = await Tab.open(browser, server.url);
  await tab.observe({ ...chain, peers: through(address, wire.port), ...options });
  await tab.connected();
  return tab;
}

const wireToAll = async () => line(portOf((await lab.gateway("whole")).address));

/** Each scenario takes a browser, and the function that reports a time. */
const SCENARIOS = {
  async "a page that is opened shows the newest head, and each that follows"(browser, report) {
    const { address } = await lab.gateway("whole");
    const site = await serve({ config: () => ({ ...chain, name: "lab", peers: [address] }) });
    const began = Date.now();
    const publishing = lab.publish(10, 500);
    const tab = await Tab.open(browser, site.url);
    const shown = () => Number(document.getElementById("head-number")?.textContent.replaceAll(",", "")) || 0;
    await tab.page.waitForFunction(shown, null, { timeout: PATIENCE * 1000 });
    report("opened", (Date.now() - began) / 1000);
    const newest = (await publishing).at(-1).number;
    await tab.page.waitForFunction(
      (newest) => document.getElementById("head-number").textContent.replaceAll(/\D/g, "") === String(newest)
        && document.getElementById("status").textContent === "Live",
      newest,
      { timeout: PATIENCE * 1000 },
    );
    assert.deepEqual(tab.noise, []);
    await tab.close();
    await site.stop();
  },

  async "in a worker under a strict policy, blocks arrive in order, without a sound"(browser, report) {
    const { address } = await lab.gateway("whole");
    const tab = await Tab.open(browser, server.url);
    await tab.observe({ ...chain, peers: address });
    await tab.connected();
    const published = await lab.publish(10, 200);
    await tab.reached(published.at(-1).number);
    same(await tab.record("block"), published);
    report("published", await headAbove(tab, published.at(-1).number - 1, published.at(-1).at));
    assert.deepEqual(tab.noise, []);
    await tab.close();
  },

  async "after a network change the dead connection is dropped, and blocks arrive over a new one"(browser, report) {
    const wire = await wireToAll();
    const tab = await atTheEndOf(wire, browser);
    const before = await lab.publish(2, 100);
    await tab.reached(before.at(-1).number);
    wire.strand();
    const since = Date.now();
    const after = await lab.publish(10, 1000);
    report("black-holed", await headAbove(tab, before.at(-1).number, since));
    await tab.reached(after.at(-1).number);
    same(await tab.record("block"), [...before, ...after]);
    const events = (await tab.record("peer")).map((peer) => peer.what);
    const lost = events.indexOf("silent");
    assert.ok(lost > 0 && events.indexOf("disconnected", lost) > lost && events.indexOf("connected", lost) > lost, events);
    const silent = (await tab.record("peer"))[lost];
    assert.deepEqual([silent.reasonCode, (await tab.peers())[0].reasonCode], ["silent", null]);
    // The gateway has given up the older connection.
    assert.equal((await lab.ask({ do: "peers", name: "whole" })).browsers, 1);
    // It is in the mesh of the gateway: nothing is asked for any more.
    await tab.connected();
    const last = await lab.publish(3, 300);
    await tab.reached(last.at(-1).number);
    const shown = (await tab.record("block")).filter((block) => block.number >= last[0].number);
    assert.deepEqual(shown.map((block) => block.origin), ["gossip", "gossip", "gossip"]);
    await tab.close();
    await wire.stop();
  },

  async "blocks that were missed while the line was cut are fetched, and come in order"(browser, report) {
    const wire = await wireToAll();
    const tab = await atTheEndOf(wire, browser);
    const before = await lab.publish(2, 100);
    await tab.reached(before.at(-1).number);
    wire.cut();
    await tab.until(() => observer.peers[0].state !== "connected");
    const missed = await lab.publish(20, 50);
    assert.equal(await tab.page.evaluate(() => observer.head.number), before.at(-1).number);
    wire.mend();
    const since = Date.now();
    await tab.connected();
    const after = await lab.publish(2, 500);
    report("cut", await headAbove(tab, missed.at(-1).number, since));
    await tab.reached(after.at(-1).number, PATIENCE);
    report("cut, all of the gap", (Date.now() - since) / 1000);
    const shown = await tab.record("block");
    same(shown, [...before, ...missed, ...after]);
    const fetched = shown.filter((block) => block.origin === "request");
    assert.ok(fetched.length >= 19, `${fetched.length} of the missed blocks were asked for`);
    const gaps = await tab.record("gap");
    assert.deepEqual([gaps[0].state, gaps.at(-1).state, gaps.at(-1).reason], ["opened", "closed", "filled"]);
    // Chromium itself reports the WebSocket.
    assert.deepEqual(tab.noise.filter((text) => !text.includes("WebSocket connection")), []);
    await tab.close();
    await wire.stop();
  },

  async "two tabs with a persistent identity both get every block"(browser, report) {
    const { address } = await lab.gateway("whole");
    const context = await browser.newContext();
    const tabs = [await Tab.open(context, server.url), await Tab.open(context, server.url)];
    const ids = [];
    for (const tab of tabs) ids.push((await tab.observe({ ...chain, peers: address, identity: "persistent" })).peerId);
    assert.notEqual(ids[0], ids[1]);
    for (const tab of tabs) await tab.connected();
    const published = await lab.publish(5, 200);
    for (const tab of tabs) {
      await tab.reached(published.at(-1).number);
      same(await tab.record("block"), published);
    }
    const seconds = tabs.map((tab) => headAbove(tab, published.at(-1).number - 1, published.at(-1).at));
    report("two tabs", Math.max(...(await Promise.all(seconds))));
    await context.close();
  },

  async "a full gateway says so, is dialled less and less often, and lets in who waits"(browser, report) {
    const { address } = await lab.gateway("narrow", undefined, 1);
    const [first, second] = [await Tab.open(browser, server.url), await Tab.open(browser, server.url)];
    await first.observe({ ...chain, peers: address });
    await first.connected();
    await second.observe({ ...chain, peers: address });
    await second.until(() => record.error.some((error) => error.code === "full"), null, PATIENCE);
    await second.until(() => record.peer.filter((peer) => peer.reasonCode === "full").length >= 4, null, PATIENCE);
    const events = await second.record("peer");
    assert.ok(events.every((peer) => peer.what !== "connected"), "it does not seem to be connected");
    const waits = events.filter((peer) => peer.what === "unreachable").map((peer) => peer.retryIn);
    assert.ok(waits[3] > waits[0], waits.join(" "));
    assert.equal((await second.record("error")).filter((error) => error.code === "full").length, 1);
    const since = Date.now();
    await first.close();
    await second.connected();
    report("full, room again", (Date.now() - since) / 1000);
    const [block] = await lab.publish(1, 1);
    await headAbove(second, block.number - 1, since);
    await second.close();
  },

  async "of an older chain that is wanted whole, the newest head shows first"(browser, report) {
    await lab.publish(150, 1);
    const { address } = await lab.gateway("whole");
    const tab = await Tab.open(browser, server.url);
    const since = Date.now();
    await tab.observe({ ...chain, peers: address, fromGenesis: true });
    const published = await lab.publish(10, 500);
    report("older chain", await headAbove(tab, published[0].number - 1, since));
    assert.ok((await tab.record("head")).every((head) => head.number >= published[0].number), "none is old");
    // It catches up: the number of missing blocks falls.
    await tab.until(() => record.gap.some((gap) => gap.missing > 100 && record.gap.some((later) => later.id === gap.id && later.missing < gap.missing)), null, PATIENCE);
    await tab.close();
  },
};

/** The number of scenarios that a browser's driver is good for, where it is not all. */
const FIRST = { webkit: 1 };

for (const name of NAMES) {
  for (const [what, scenario] of Object.entries(SCENARIOS).slice(0, FIRST[name])) {
    test(`${name}: ${what}`, (t) => scenario(browsers[name], (when, seconds) => t.diagnostic(`${name}, ${when}: head after ${seconds.toFixed(2)} s`)));
  }
}
