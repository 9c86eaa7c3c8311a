// node web/e2e/measure.mjs, by `cargo web-measure`: measures a visitor's waiting times. On
// loopback, in one run, beside the native node that serves the page and beside a page that polls
// once a second:
//
// * from navigation to the first verified block, in a fresh browser each time;
// * from the moment that the sequencer gets a block until it is handed on: by the gateway, to the
//   page, to the polling page;
// * memory after 1,000 blocks;
// * from the return of the network until a page has fetched 3,000 missed blocks, over a line of
//   20 Mbit/s with a round trip of 80 ms, and the page's longest pause meanwhile.

import { slow } from "./slow.mjs";
import { Lab, Tab, launch, pause, portOf, serve, through } from "./support.mjs";

const BLOCKS = Number(process.env.BLOCKS ?? 300);
const LOADS = Number(process.env.LOADS ?? 10);
const LONG = Number(process.env.LONG ?? 1000);
const BEHIND = Number(process.env.BEHIND ?? 3000);

const lab = await Lab.start();
const gateway = await lab.gateway("measured");
const options = { network: lab.chain.rollup, signer: lab.chain.signer, peers: gateway.address };
const server = await serve();

function quantiles(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

const show = (name, { p50, p99, max }, unit) => {
  const [a, b, c] = [p50, p99, max].map((value) => value.toFixed(unit === "ms" ? 1 : 2).padStart(9));
  console.log(`${name.padEnd(46)} p50 ${a}  p99 ${b}  max ${c} ${unit}`);
};

// ---- the first verified block ----

const first = [];
for (let load = 0; load < LOADS; load++) {
  const browser = await launch();
  const page = await browser.newPage();
  // A publisher that is ahead of the page, so that a block is available at once.
  const publishing = lab.publish(40, 50);
  await page.goto(server.url);
  first.push(
    await page.evaluate(async (options) => {
      const { observe } = await import("/index.js");
      const observer = await observe(options);
      await new Promise((resolve) => observer.on("block", resolve));
      return performance.now();
    }, options),
  );
  await publishing;
  await browser.close();
}
show(`navigation to first verified block (${LOADS} loads)`, quantiles(first), "ms");

// ---- publication to page ----

const browser = await launch();
const tab = await Tab.open(browser, server.url);
await tab.observe(options);
await tab.connected();

// The page without a network connection of its own: it asks a server once a second.
let newest = null;
const polled = new Map();
const polling = setInterval(() => newest && !polled.has(newest.number) && polled.set(newest.number, Date.now()), 1000);
const published = [];
for (let round = 0; round < BLOCKS; round += 10) {
  for (const block of await lab.publish(10, 150)) {
    published.push(block);
    newest = block;
  }
}
await tab.reached(published.at(-1).number);
clearInterval(polling);
const seen = new Map((await lab.ask({ do: "seen", name: "measured" })).blocks.map((block) => [block.number, block.at]));
const shown = new Map((await tab.record("block")).map((block) => [block.number, block]));
const native = published.map((block) => seen.get(block.number) - block.at);
const page = published.map((block) => {
  const { receivedAt, validation } = shown.get(block.number);
  return receivedAt + validation - block.at;
});
const after = published.map((block, index) => page[index] - native[index]);
show(`publication to the gateway (${published.length} blocks)`, quantiles(native), "ms");
show("publication to the page", quantiles(page), "ms");
show("to the page after the gateway has it", quantiles(after), "ms");
// Measured waits. They are half of the interval on average and all of it at worst, whatever the
// server.
const waits = published.filter((block) => polled.has(block.number)).map((block) => polled.get(block.number) - block.at);
show("publication to a page that polls once a second", quantiles(waits), "ms");
const validations = published.map((block) => shown.get(block.number).validation);
show("validation in the page, as it waited for it", quantiles(validations), "ms");

// ---- memory ----

const memory = [(await tab.counters()).memory];
for (let round = 0; round < LONG; round += 100) {
  const blocks = await lab.publish(100, 15);
  await tab.reached(blocks.at(-1).number, 60);
  await pause(1100);
  memory.push((await tab.counters()).memory);
}
console.log(`WebAssembly memory after ${published.length} blocks and after each 100 more, in MB: ${memory.map((bytes) => (bytes / 1e6).toFixed(1)).join(" ")}`);

// ---- far behind ----

const line = { trip: 80, rate: 20e6 / 8, free: 0, bytes: 0 };
const door = await slow(portOf(gateway.address), line);
const late = await Tab.open(browser, server.url);
await late.observe({ ...options, peers: through(gateway.address, door.port), fromGenesis: true, maxGap: BEHIND + 1000, gapMemory: 512 * 2 ** 20 });
await late.connected();
await late.reached((await lab.publish(2, 100)).at(-1).number);
door.cut();
await lab.publish(BEHIND, 8);
await late.page.evaluate(() => {
  window.pause = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.pause = Math.max(window.pause, now - last);
    last = now;
  }, 10);
});
line.bytes = 0;
door.mend();
const mended = performance.now();
await late.connected();
const [top] = await lab.publish(1, 50);
await late.reached(top.number, 120);
const took = (performance.now() - mended) / 1000;
const { memory: held } = await late.counters();
const longest = await late.page.evaluate(() => window.pause);
console.log(
  `${BEHIND} blocks behind, 20 Mbit/s, 80 ms: caught up ${took.toFixed(1)} s after the network's return, ` +
    `${(line.bytes / 1e6).toFixed(1)} MB towards the page, ${((8 * line.bytes) / took / 1e6).toFixed(1)} Mbit/s; ` +
    `WebAssembly memory ${(held / 1e6).toFixed(1)} MB; longest pause of the page ${longest.toFixed(0)} ms`,
);

await browser.close();
await server.stop();
await door.stop();
await lab.stop();
