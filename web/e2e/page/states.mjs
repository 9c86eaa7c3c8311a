// Every state of the page: its words, its layout's stability, and what axe-core finds in it, light
// and dark, from 320 to 1280 pixels. Part of check.mjs.

import { join } from "node:path";

const PEER = "/dns4/gateway.example/tcp/443/wss/p2p/16Uiu2HAmQ7dGcE3vUe1nTq5JpVx3sRjK9aYb2LwHhZf8oCk4tGm1";
const JOINED = { network: "op-mainnet", peers: PEER, rate: "0.5", quiet: "" };
const KEY = "0x78f900000000000000000000000000000000abcd";
const BUILT_IN = "0xaaaa45d9549eda09e70937013520214382ffc4a2";
const WIDTHS = [320, 768, 1280];
/** Most layout shift in any state, by the measure of web vitals. */
const MOST_SHIFT = 0.05;

const shown = (page, selector) => page.locator(selector).first().waitFor();
const says = (page, id, words) =>
  page.waitForFunction(([id, words]) => new RegExp(words).test(document.getElementById(id).textContent), [id, words]);

/** Each state: its query, how it is reached, and what must be read in it. */
const STATES = {
  live: {
    query: { ...JOINED, past: "12" },
    reach: (page) => says(page, "status", "^Live$"),
    reads: { signer: new RegExp(`Signed by ${BUILT_IN} OP Mainnet’s signer, built into this page`) },
  },
  details: {
    query: { ...JOINED, past: "5" },
    async reach(page) {
      await shown(page, "#blocks .open");
      await page.locator("#blocks .open").nth(1).click();
      await shown(page, "dialog[open]");
    },
    reads: { "details-body": new RegExp(`The sequencer’s signature is right.*${BUILT_IN}`, "s") },
  },
  behind: {
    query: { ...JOINED, behind: "600" },
    async reach(page) {
      await says(page, "status", "Catching up 0 %");
      await page.evaluate(() => window.opp2p.observer.fetch(240));
      await says(page, "status", "Catching up 40 %, 360 to go");
    },
    reads: { "head-number": /^142,370,601$/, "head-title": /^Newest signed block$/, "head-checks": /360 blocks below it are still to come/, gaps: /360 blocks missing/ },
  },
  stale: {
    query: { ...JOINED, past: "5", silent: "" },
    reach: (page) => says(page, "status", "^Stale, no new block for \\d"),
    reads: {},
  },
  refused: {
    query: { ...JOINED, refuse: "wrong-network" },
    reach: (page) => says(page, "status", "^Refused, the gateway is on another chain"),
    reads: { "notice-text": /chain 8453/ },
  },
  full: {
    query: { ...JOINED, refuse: "full" },
    reach: (page) => says(page, "status", "^Refused, the gateway is full"),
    reads: { "notice-text": /is full; it is dialled again/, "head-hash": /^no block has been accepted$/ },
  },
  connecting: {
    query: { ...JOINED, unreachable: "" },
    reach: (page) => says(page, "status", "^Connecting$"),
    reads: { signer: new RegExp(`Checked against ${BUILT_IN}`), "head-checks": /will be checked/ },
  },
  form: {
    query: {},
    reach: (page) => shown(page, "#start"),
    reads: {},
  },
  "form over live": {
    query: { ...JOINED, past: "5" },
    async reach(page) {
      await says(page, "status", "^Live$");
      await page.locator("#change").click();
      await page.locator("#start-signer").fill("0x1");
      await page.locator("#start-go").click();
      await says(page, "start-error", "hexadecimal");
    },
    reads: {},
  },
  "signer of a link": {
    query: { ...JOINED, network: '{"l2_chain_id":10}', signer: KEY, past: "5" },
    async reach(page) {
      await says(page, "status", "^Live$");
      await page.locator("#blocks .open").nth(1).click();
      await shown(page, "dialog[open]");
    },
    reads: {
      warning: new RegExp(`Chain and signer set by the link: ${KEY}`),
      network: /^chain 10 · configuration of the link$/,
      signer: new RegExp(`Signed by ${KEY} set by the link`),
      "details-body": /by an unconfirmed key/,
    },
  },
  "signer of a link for a built-in network": {
    query: { ...JOINED, signer: KEY, past: "5" },
    reach: (page) => says(page, "status", "^Live$"),
    reads: { warning: new RegExp(`${KEY}\\. It is ignored.*${BUILT_IN}`), signer: new RegExp(`Signed by ${BUILT_IN} OP Mainnet’s signer`) },
  },
  troubles: {
    query: { ...JOINED, past: "5", troubles: "3" },
    reach: (page) => shown(page, "#troubles li:nth-child(3)"),
    reads: {},
  },
};

/** Adds up layout shifts that no input caused. */
function watchShifts() {
  window.shifted = { sum: 0, of: [] };
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (hadRecentInput) continue;
      window.shifted.sum += value;
      window.shifted.of.push(...sources.map(({ node }) => `${value.toFixed(3)} ${node?.id || node?.className || node?.nodeName}`));
    }
  }).observe({ type: "layout-shift", buffered: true });
}

/** Checks every state. `open` and `check` are those of check.mjs, `axe` is the path of axe-core. */
export async function states({ browser, url, open, check, axe, screens }) {
  for (const [name, { query, reach, reads }] of Object.entries(STATES)) {
    const { context, page, noise } = await open(browser, url, null, { reducedMotion: "reduce", viewport: { width: 320, height: 800 } });
    await page.addInitScript(watchShifts);
    const missing = new Set();
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width < 500 ? 800 : 900 });
      await page.goto(`${url}?${new URLSearchParams(query)}`);
      await reach(page);
      const shifted = await page.evaluate(() => window.shifted);
      check(`${name}, ${width}: nothing jumps`, shifted.sum < MOST_SHIFT, shifted);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(`${name}, ${width}: nothing sticks out`, over <= 0, over);
      await page.evaluate(await script(axe));
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const found = await page.evaluate(findings);
        check(`${name}, ${width}, ${colorScheme}: axe finds nothing`, found.length === 0, found);
        if (screens) await page.screenshot({ path: join(screens, `${name.replaceAll(" ", "-")}-${width}-${colorScheme}.png`), fullPage: true });
      }
      await page.emulateMedia({ colorScheme: "light" });
      for (const [id, pattern] of Object.entries(reads)) {
        const text = await page.evaluate((id) => document.getElementById(id === "signer" ? "head-signer" : id).textContent.replaceAll(/\s+/g, " ").trim(), id);
        if (!pattern.test(text)) missing.add(`${id}: ${text}`);
      }
    }
    check(`${name}: it says what it has to`, missing.size === 0, [...missing]);
    check(`${name}: nothing was said in the console`, noise.length === 0, noise);
    await context.close();
  }
  await languages({ browser, url, open, check });
}

let loaded;
/** Returns the text of axe-core: the page's policy lets no other script in. */
async function script(path) {
  const { readFile } = await import("node:fs/promises");
  loaded ??= await readFile(path, "utf8");
  return `${loaded}; undefined`;
}

async function findings() {
  const rules = { "label-content-name-mismatch": { enabled: true }, "target-size": { enabled: true } };
  const { violations } = await window.axe.run(document, { rules, resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map(({ target }) => `${id}: ${target}`));
}

/** A language that no number format knows, and a script that runs from right to left. */
async function languages({ browser, url, open, check }) {
  const { context, page, noise } = await open(browser, url, null);
  await page.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "language", { get: () => "C", configurable: true });
    document.addEventListener("DOMContentLoaded", () => (document.documentElement.dir = "rtl"));
  });
  await page.goto(`${url}?${new URLSearchParams({ ...JOINED, past: "20" })}`);
  await shown(page, "#latency-value:not(:empty)");
  check("an unknown language breaks no chart", (await page.locator(".u-wrap canvas").count()) === 2);
  const first = await page.locator("#blocks .c-size").first().evaluate((cell) => {
    const range = document.createRange();
    const text = cell.firstChild;
    const left = (at) => (range.setStart(text, at), range.setEnd(text, at + 1), range.getBoundingClientRect().left);
    return [text.data, left(0) < left(text.data.length - 1)];
  });
  check("a unit stays behind its number", first[1], first);
  check("and nothing was said about either", noise.length === 0, noise);
  await context.close();
}
