// node web/e2e/page/measure.mjs [--page DIR] [--opp2p FILE] [--loads N] [--line NAME]: measures cold loads of the
// page on a devnet, over lines with the round trip and the bandwidth below. For each: the first
// paint, the first verified head, the layout shift until five seconds after it, and the bytes that
// the visitor got by then. `cargo web-measure` runs it.

import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { slow } from "../slow.mjs";
import { launch } from "../support.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const { values: given } = parseArgs({
  options: {
    page: { type: "string", default: path.join(ROOT, "web/dist/page") },
    opp2p: { type: "string", default: process.env.OPP2P ?? path.join(ROOT, "target/release/opp2p") },
    loads: { type: "string", default: "10" },
    line: { type: "string" },
  },
});
/** Round trip in milliseconds, and bytes a second towards the visitor. */
const LINES = {
  loopback: { trip: 0, rate: Infinity },
  "150 ms": { trip: 150, rate: 1.25e6 },
  "3G": { trip: 300, rate: 90e3 },
};
/** Milliseconds after the first head for which layout shifts are counted. */
const SETTLE = 5000;
/** Milliseconds for the first head to come. */
const PATIENCE = 120_000;

/** Starts a devnet that serves the page. Resolves to it and the URL of its page. */
async function devnet() {
  const node = spawn(given.opp2p, ["devnet", "--followers", "1", "--block-time", "1", "--json", "--web.root", given.page], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  for await (const line of createInterface({ input: node.stderr })) {
    const url = /observer page: (http:\/\/\S+)/.exec(line)?.[1];
    if (!url) continue;
    node.stderr.resume();
    return { node, url };
  }
  throw new Error("the devnet does not serve its page");
}

async function load(browser, served, peer, { trip, rate }) {
  const line = { trip, rate, free: 0, bytes: 0 };
  const doors = await Promise.all([slow(new URL(served).port, line), slow(/\/tcp\/(\d+)/.exec(peer)[1], line)]);
  const [page, door] = doors.map(({ port }) => port);
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const tab = await context.newPage();
  await tab.addInitScript(() => {
    window.shift = 0;
    new PerformanceObserver((list) => {
      for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) window.shift += value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  const query = new URLSearchParams({ peers: peer.replace(/\/tcp\/\d+/, `/tcp/${door}`), fromGenesis: "0" });
  await tab.goto(`http://127.0.0.1:${page}/?${query}`, { waitUntil: "commit" });
  const head = () => {
    const { firstHead, firstBlock } = window.opp2p?.timings ?? {};
    return firstHead ?? firstBlock ?? 0;
  };
  const first = await (await tab.waitForFunction(head, null, { timeout: PATIENCE, polling: 20 })).jsonValue();
  const { bytes } = line;
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const seen = await tab.evaluate(() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
    shift: window.shift,
  }));
  await context.close();
  await Promise.all(doors.map((proxy) => proxy.stop()));
  return { ...seen, head: first, bytes };
}

function row(name, values, digits) {
  const sorted = values.toSorted((a, b) => a - b);
  const [p50, most] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted.at(-1)];
  console.log(`  ${name.padEnd(22)} median ${p50.toFixed(digits).padStart(10)}  most ${most.toFixed(digits).padStart(10)}`);
}

const { node, url } = await devnet();
const browser = await launch();
try {
  const { peers } = await (await fetch(`${url}config.json`)).json();
  for (const [name, line] of Object.entries(LINES)) {
    if (given.line !== undefined && given.line !== name) continue;
    const loads = [];
    for (let round = 0; round < Number(given.loads); round += 1) loads.push(await load(browser, url, peers[0], line));
    console.log(`${name}, ${loads.length} cold loads:`);
    row("first paint (ms)", loads.map(({ paint }) => paint), 0);
    row("first head (ms)", loads.map(({ head }) => head), 0);
    row("layout shift", loads.map(({ shift }) => shift), 3);
    row("bytes until the head", loads.map(({ bytes }) => bytes), 0);
  }
} finally {
  await browser.close();
  node.kill();
}
process.exit();
