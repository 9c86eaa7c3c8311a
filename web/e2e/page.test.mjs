// The page as the node serves it, on a devnet as a user starts it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "./support.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const OPP2P = process.env.OPP2P ?? path.join(ROOT, "target", "debug", "opp2p");
/** The page, which only release builds have inside. */
const SERVED = ["--web.root", path.join(ROOT, "web", "dist", "page")];
const SCREENS = path.join(ROOT, "web", "dist", "screens");

/** Returns a function that reads a devnet's standard error until a line matches, and what was found. */
function listener(devnet) {
  const lines = createInterface({ input: devnet.stderr })[Symbol.asyncIterator]();
  return async (pattern) => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `the devnet ended before it said ${pattern}`);
      const found = pattern.exec(value)?.[1];
      if (found) return found;
    }
  };
}

/** The line that says where the page is. */
const PAGE = /observer page: (http:\/\/\S+)/;

test("the devnet's page joins the devnet and shows its blocks as they come", async () => {
  const devnet = spawn(OPP2P, ["devnet", "--followers", "3", "--blocks", "60", "--block-time", "0.5", "--json", ...SERVED], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise((resolve) => devnet.once("exit", resolve));
  let summary = "";
  devnet.stdout.on("data", (data) => (summary += data));
  const browser = await launch();
  try {
    const url = await listener(devnet)(PAGE);
    devnet.stderr.resume();
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const noise = [];
    page.on("console", (message) => noise.push(message.text()));
    page.on("pageerror", (error) => noise.push(String(error)));
    await page.goto(url);
    const reached = (number) =>
      page.waitForFunction((number) => (window.opp2p?.observer?.head?.number ?? 0) >= number, number, { timeout: 60_000 });
    await reached(20);
    await mkdir(SCREENS, { recursive: true });
    await page.screenshot({ path: path.join(SCREENS, "desktop.png") });
    const phone = await browser.newPage({ viewport: { width: 375, height: 812 }, colorScheme: "dark" });
    await phone.goto(url);
    await phone.waitForFunction(() => (window.opp2p?.observer?.head?.number ?? 0) >= 30, null, { timeout: 60_000 });
    await phone.screenshot({ path: path.join(SCREENS, "phone.png"), fullPage: true });
    await reached(60);
    const { counters, head, first } = await page.evaluate(() => ({
      counters: opp2p.observer.counters,
      head: opp2p.observer.head,
      first: opp2p.timings,
    }));
    assert.deepEqual([counters.rejected, counters.ignored], [{}, {}]);
    assert.ok(counters.blocks >= 60 - 0, `${counters.blocks} blocks from genesis on`);
    assert.equal(head.number, 60);
    assert.ok(Object.values(first).some((time) => time > 0));
    const text = await page.evaluate(() => document.body.innerText);
    assert.match(text, /60/);
    assert.match(text, /not/i, "it says what is not verified");
    assert.deepEqual(noise, []);
    assert.equal(await exited, 0);
    assert.equal(JSON.parse(summary).ok, true);
  } finally {
    await browser.close();
    devnet.kill();
  }
});

test("the page of an older devnet shows its newest block at once", async () => {
  const devnet = spawn(OPP2P, ["devnet", "--followers", "1", "--block-time", "0.05", "--json", ...SERVED], { stdio: ["ignore", "ignore", "pipe"] });
  const browser = await launch();
  try {
    const until = listener(devnet);
    const url = await until(PAGE);
    const old = Number(await until(/^block +(1[3-9]\d)\b/));
    devnet.stderr.resume();
    const open = async (query) => {
      const page = await browser.newPage();
      await page.goto(url + query);
      // The first number is already that of a new block, however many are below it.
      const first = await page.waitForFunction(() => Number(document.getElementById("head-number").textContent.replaceAll(",", "")) || 0, null, { timeout: 60_000 });
      return { page, first: await first.jsonValue() };
    };
    const newest = await open("");
    assert.ok(newest.first > old, `${newest.first} is above ${old}`);
    assert.equal(await newest.page.evaluate(() => opp2p.observer.counters.fetched), 0, "nothing old is asked for");
    const whole = await open("?fromGenesis=1");
    assert.ok(whole.first > old, `${whole.first} is above ${old}`);
    await whole.page.waitForFunction(() => /^Catching up \d+ %, [\d,]+ to go$/.test(document.getElementById("status").textContent), null, { timeout: 60_000 });
  } finally {
    await browser.close();
    devnet.kill();
  }
});
