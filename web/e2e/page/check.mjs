// The observer page in a headless Chromium, served by the real node, over a made-up chain
// (`mock.js`).
//
//   node web/e2e/page/check.mjs --opp2p target/debug/opp2p --modules DIR/node_modules [--browser FILE] [--screens DIR] [--only PART]
//
// DIR has `playwright-core` and `axe-core`. With --screens it also takes screenshots. Prints a line
// for each check; the exit code is 0 if all pass. `states.mjs` has the checks of every state.

import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { assemble as bundle } from "../../build/page.js";
import { states } from "./states.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const { values: given } = parseArgs({
  options: {
    opp2p: { type: "string", default: "target/debug/opp2p" },
    modules: { type: "string", default: "node_modules" },
    browser: { type: "string", default: "/usr/bin/chromium" },
    screens: { type: "string" },
    only: { type: "string" },
  },
});
const PEER = "/dns4/gateway.example/tcp/443/wss/p2p/16Uiu2HAmQ7dGcE3vUe1nTq5JpVx3sRjK9aYb2LwHhZf8oCk4tGm1";
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 375, height: 812 };
/** Maximum wait for anything, in milliseconds. */
const PATIENCE = 90_000;

/** WebAssembly without anything in it. */
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Assembles the page as it is served, with the made-up chain in place of the package. */
async function assemble() {
  const folder = await mkdtemp(join(tmpdir(), "opp2p-page-"));
  const packed = join(folder, "package");
  await mkdir(join(packed, "wasm"), { recursive: true });
  await writeFile(join(packed, "wasm/opp2p_web_bg.wasm"), EMPTY);
  await cp(join(here, "mock.js"), join(packed, "index.js"));
  await bundle(packed, join(folder, "page"));
  return folder;
}

/** Starts a node that serves the page. Resolves with the node and its URL. */
function serve(binary, folder) {
  const network = ["--network", "op-mainnet", "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"];
  const alone = ["--p2p.no-discovery", "--rpc.port", "0"];
  const files = ["--p2p.priv.path", "key", "--data-dir", "data", "--web.root", "page", "--web.listen", "127.0.0.1:0"];
  const node = spawn(binary, ["node", ...network, ...alone, ...files], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  return new Promise((resolve, reject) => {
    let said = "";
    const late = setTimeout(() => reject(new Error(`the node does not serve the page: ${said}`)), PATIENCE);
    node.on("error", reject);
    node.on("exit", () => reject(new Error(`the node ended: ${said}`)));
    node.stderr.on("data", (bytes) => {
      said += bytes;
      const url = /http:\/\/[\d.:]+\//.exec(said);
      if (url) {
        clearTimeout(late);
        resolve({ node, url: url[0] });
      }
    });
  });
}

const failures = [];
function check(what, holds, seen = "") {
  console.log(`${holds ? "ok  " : "NOT "} ${what}${holds || seen === "" ? "" : `: ${JSON.stringify(seen)}`}`);
  if (!holds) failures.push(what);
}

/**
 * Opens the page in a context of its own; an empty one if `query` is `null`. Its messages and
 * requests are recorded.
 */
async function open(browser, url, query, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const noise = [];
  page.on("console", (message) => noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => noise.push(`error: ${error.stack}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) noise.push(`asked for ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) noise.push(`${response.status()} for ${response.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`forbidden: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  if (query !== null) await page.goto(`${url}?${new URLSearchParams(query)}`);
  return { context, page, noise };
}

const JOINED = { network: "op-mainnet", peers: PEER };
const firstBlock = (page) => page.waitForFunction(() => window.opp2p?.timings.firstBlock > 0);
const text = (page, selector) => page.locator(selector).first().innerText();

/** Returns the texts whose contrast with their background is below 4.5 (3 if large). */
function lowContrast() {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [255, 255, 255, 1];
  };
  const low = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const words = texts.currentNode.data.trim();
    const style = getComputedStyle(element);
    if (words === "" || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".hidden, .skip")) continue;
    const [one, two] = [light(parse(style.color)), light(behind(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (two + 0.05);
    if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) low.push(`${words.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return low;
}

async function shows(browser, url) {
  const { context, page, noise } = await open(browser, url, { ...JOINED, rate: "4", past: "130" });
  await firstBlock(page);
  const before = await text(page, "#head-number");
  await page.waitForFunction((old) => document.getElementById("head-number").innerText !== old, before);
  check("the head moves", true);
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "live");
  check("it says that it is live", (await text(page, "#status")) === "Live");
  check("the age ticks", /^\d+\.\d s$/.test(await text(page, "#head-age")), await text(page, "#head-age"));
  const events = await text(page, "#events");
  for (const kind of ["Reorg", "Equivocation", "Rejected", "Ignored"]) check(`${kind} is told`, events.includes(kind));
  check("equal ones are counted", events.includes("3 times"), events);
  const peers = await text(page, "#peers");
  check("peers have their states", peers.includes("in the mesh") && peers.includes("banned"), peers);
  check("a replaced block is marked", (await page.locator("tr.replaced").count()) > 0);
  check("charts are drawn", (await page.locator(".u-wrap canvas").count()) === 2);
  check("charts have words", /median/.test(await text(page, "#latency-value")) && /Largest/.test(await text(page, "#size-text")));
  check("the head is announced", (await page.locator("#head-said").textContent()).startsWith("Verified head: block "));
  await page.waitForSelector("#gaps progress");
  check("a gap is shown", /missing: [\d,]+ to [\d,]+/.test(await text(page, "#gaps")), await text(page, "#gaps"));
  await page.waitForFunction(() => document.querySelectorAll("#gaps li").length === 0);
  check("and gone when it is filled", await page.locator("#gaps-none").isVisible());
  check("nothing was said in the console or asked of others", noise.length === 0, noise);
  await context.close();
}

async function holdsStill(browser, url) {
  const { context, page, noise } = await open(browser, url, { ...JOINED, rate: "40", past: "300", quiet: "" });
  await page.waitForFunction(() => document.querySelectorAll("#blocks tr").length === 200);
  const count = () => page.evaluate(() => document.querySelectorAll("*").length);
  const blocks = () => page.evaluate(() => window.opp2p.observer.counters.blocks);
  const [nodes, start] = [await count(), await blocks()];
  await page.waitForFunction((start) => window.opp2p.observer.counters.blocks > start + 200, start);
  const after = await count();
  check("two hundred blocks later there are as many elements", Math.abs(after - nodes) < 50, [nodes, after]);
  check("the list has 200 blocks, the newest first", await page.evaluate(() => {
    const numbers = [...document.querySelectorAll("#blocks .open")].map((open) => Number(open.innerText.replaceAll(",", "")));
    return numbers.length === 200 && numbers.every((number, at) => at === 0 || number === numbers[at - 1] - 1);
  }));
  await page.locator("#blocks-scroll").evaluate((scroll) => { scroll.scrollTop = 1000; });
  const top = () => page.evaluate(() => {
    const box = document.getElementById("blocks-scroll").getBoundingClientRect();
    return document.elementFromPoint(box.left + 60, box.top + 120).closest("tr").innerText;
  });
  const seen = await top();
  const then = await blocks();
  await page.waitForFunction((then) => window.opp2p.observer.counters.blocks > then + 10, then);
  check("what is read stays in its place", (await top()) === seen, [seen, await top()]);
  check("and nothing was said", noise.length === 0, noise);
  await context.close();
}

async function keyboard(browser, url) {
  const { context, page, noise } = await open(browser, url, { ...JOINED, rate: "0.2", past: "60", quiet: "" });
  await firstBlock(page);
  const focused = () => page.evaluate(() => document.activeElement.innerText || document.activeElement.id);
  let found = false;
  for (let presses = 0; presses < 20 && !found; presses += 1) {
    await page.keyboard.press("Tab");
    found = await page.evaluate(() => document.activeElement.matches("#blocks .open"));
  }
  check("Tab comes to the newest block", found && (await focused()) === (await text(page, "#blocks .open")), await focused());
  check("the focus is seen", await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle === "solid"));
  const at = (index) => text(page, `#blocks tr:nth-child(${index}) .open`);
  await page.keyboard.press("ArrowDown");
  check("down is the block before", (await focused()) === (await at(2)), await focused());
  await page.keyboard.press("End");
  check("End is the oldest", (await focused()) === (await text(page, "#blocks tr:last-child .open")));
  await page.keyboard.press("Home");
  await page.keyboard.press("PageDown");
  check("a page is ten", (await focused()) === (await at(11)));
  const chosen = await focused();
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  check("Enter shows the block", (await text(page, "#details-title")) === `Block ${chosen}`);
  const fields = await text(page, "#details-body");
  for (const field of ["Hash", "Parent", "State root", "Receipts root", "Base fee", "Signature", "Not executed, not final"]) {
    check(`its ${field.toLowerCase()}`, fields.includes(field));
  }
  check("and its transactions by size", /\d+ transactions, /.test(fields) && fields.includes("deposit"));
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog:not([open])", { state: "attached" });
  check("Escape goes back to it", (await focused()) === chosen, await focused());
  check("only one block is in the tab order", (await page.locator("#blocks .open[tabindex='0']").count()) === 1);
  check("and nothing was said", noise.length === 0, noise);
  await context.close();
}

async function asks(browser, url) {
  const { context, page, noise } = await open(browser, url, {});
  await page.waitForSelector("#start:not([hidden])");
  check("without a gateway it asks for one", !(await page.locator("#live").isVisible()));
  const go = () => page.locator("#start-go").click();
  await go();
  check("an empty form says what is missing", (await text(page, "#start-error")).includes("gateway"));
  await page.locator("#start-network").fill("nowhere");
  await page.locator("#start-peers").fill(PEER);
  await go();
  await page.waitForFunction(() => document.getElementById("start-error").innerText.includes("did you mean"));
  check("a refusal is said in words", (await text(page, "#start-error")).startsWith("Unknown network `nowhere`; did you mean"));
  check("and what was written is still there", (await page.locator("#start-peers").inputValue()) === PEER);
  check("the field suggests the networks", (await page.locator("#networks option[value='op-mainnet']").count()) === 1);
  await page.locator("#start-network").fill("ethereum");
  await go();
  await page.waitForFunction(() => document.getElementById("start-error").innerText.includes("ethereum"));
  check("a refusal does not list all networks", !(await text(page, "#start-error")).includes("zora"), await text(page, "#start-error"));
  await page.locator("#start-network").fill("op-mainnet");
  await page.locator("#start-peers").fill("gateway.example");
  await go();
  await page.waitForFunction(() => document.getElementById("start-error").innerText.includes("not a multiaddr"));
  await page.locator("#start-peers").fill(`${PEER}\n${PEER}`);
  await page.locator("#start-peers").press("Tab");
  await page.keyboard.press("Enter");
  await firstBlock(page);
  check("then it observes", await page.locator("#live").isVisible());
  check("the address is a link to it", page.url().includes("?peers=/dns4/gateway.example/"), page.url());
  const first = await page.evaluateHandle(() => window.opp2p.observer);
  await page.locator("#change").click();
  check("another network can be chosen", (await page.locator("#start-network").inputValue()) === "op-mainnet");
  await page.locator("#start-signer").fill(`0x${"ab".repeat(20)}`);
  await go();
  await page.waitForFunction((first) => window.opp2p.observer && window.opp2p.observer !== first, first);
  check("which stops the first", await first.evaluate((observer) => observer.stopped));
  check("the focus is where the form was opened", (await page.evaluate(() => document.activeElement.id)) === "change");
  check("a signer that was typed in is shown as such", (await text(page, "#warning")).startsWith(`Signer typed in here: 0x${"ab".repeat(20)}`));
  await page.reload();
  await firstBlock(page);
  check("after a reload too", (await text(page, "#warning")).startsWith("Signer typed in here"));
  await page.goBack();
  await page.waitForFunction(() => !location.search.includes("signer") && window.opp2p.observer?.network.signer.startsWith("0xaaaa"));
  check("the way back leads to the network before", await page.locator("#warning").isHidden());
  check("and nothing was said", noise.length === 0, noise);
  await context.close();
}

/** A running observer outlives a failed change, and the form is left by the keyboard. */
async function joins(browser, url) {
  const { context, page, noise } = await open(browser, url, { ...JOINED, past: "5", rate: "4", quiet: "", fail: "" });
  await firstBlock(page);
  const focused = () => page.evaluate(() => document.activeElement.id);
  await page.locator("#change").focus();
  await page.keyboard.press("Enter");
  check("the form opens at its first field", (await focused()) === "start-network", await focused());
  await page.keyboard.press("Escape");
  check("Escape closes it, and the focus returns", (await page.locator("#start").isHidden()) && (await focused()) === "change", await focused());
  await page.keyboard.press("Enter");
  await page.locator("#start-signer").fill("0x12");
  await page.keyboard.press("Enter");
  check("a signer that is not an address is refused", (await text(page, "#start-error")).includes("40 hexadecimal digits"));
  await page.locator("#start-signer").fill("");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("start-error").innerText.includes("does not start"));
  const before = await text(page, "#head-number");
  await page.waitForFunction((old) => document.getElementById("head-number").innerText !== old, before);
  check("what runs goes on after a failed start", await page.evaluate(() => !window.opp2p.observer.stopped));
  await page.locator("#start-cancel").click();
  check("Cancel goes back to it", (await page.locator("#live").isVisible()) && (await page.locator("#start").isHidden()));
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator("#share").click();
  await page.waitForFunction(() => document.getElementById("share").dataset.done === "true");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  check("the link can be copied", copied === `${url}?peers=${PEER}`, copied);
  check("and nothing was said", noise.length === 0, noise);
  await context.close();
}

/** Returns where the parts of the page are, from its top. */
function places() {
  return [...document.querySelectorAll("header, main > *, .card, h2, footer")]
    .filter((part) => part.checkVisibility() && !part.closest("#troubles"))
    .map((part) => {
      const { left, top, width } = part.getBoundingClientRect();
      return `${part.id || part.className || part.textContent} ${left} ${top + scrollY} ${width}`;
    });
}

async function troubles(browser, url, screens) {
  for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    for (const colorScheme of ["light", "dark"]) {
      const query = { ...JOINED, rate: "0.01", past: "150", quiet: "", troubles: "3" };
      const { context, page, noise } = await open(browser, url, query, { viewport, colorScheme, deviceScaleFactor: 2, reducedMotion: "reduce" });
      await firstBlock(page);
      await page.waitForSelector("#latency-value:not(:empty)");
      await page.waitForFunction(() => document.querySelectorAll("#troubles li").length === 3);
      const words = await text(page, "#troubles");
      check(`${name}, ${colorScheme}: troubles have their time and their remedy`,
        /3 troubles/.test(words) && /since \d\d:\d\d:\d\d/.test(words) && words.includes("Give more gateways;"), words);
      check(`${name}, ${colorScheme}: they can be read`, (await page.evaluate(lowContrast)).length === 0, await page.evaluate(lowContrast));
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      check(`${name}, ${colorScheme}: and stay within the window`, width <= viewport.width, width);
      const box = await page.locator("#troubles").boundingBox();
      check(`${name}, ${colorScheme}: with most of it left`, box.x >= 0 && box.x + box.width <= viewport.width && box.height < viewport.height / 2, box);
      if (screens) await page.screenshot({ path: join(screens, `${name}-${colorScheme}-troubles.png`) });
      const before = await page.evaluate(places);
      await page.evaluate(() => window.opp2p.observer.endTroubles());
      await page.waitForSelector("#troubles", { state: "hidden" });
      const after = await page.evaluate(places);
      check(`${name}, ${colorScheme}: when they end, nothing else has moved`, before.join("\n") === after.join("\n"),
        before.filter((place, at) => place !== after[at]));
      await page.waitForFunction(() => document.getElementById("events").innerText.includes("Trouble is over"));
      check(`${name}, ${colorScheme}: and nothing was said`, noise.length === 0, noise);
      await context.close();
    }
  }
  const { context, page } = await open(browser, url, { ...JOINED, troubles: "1" });
  await page.waitForSelector("#troubles li");
  await page.locator("#troubles summary").click();
  check("troubles can be folded", !(await page.locator("#troubles li").isVisible()) && (await page.locator("#troubles summary").isVisible()));
  await context.close();
}

/** The signer changes while the page is open: the page reads `config.json` again. */
async function rotates(browser, url) {
  const { context, page, noise } = await open(browser, url, {});
  await page.waitForSelector("#start:not([hidden])");
  const signer = "0x00000000000000000000000000000000000000cc";
  let asked = 0;
  await page.route("**/config.json", async (route) => {
    asked += 1;
    const told = await (await route.fetch()).json();
    await route.fulfill({ json: { ...told, network: "op-mainnet", signer: asked > 1 ? signer : null } });
  });
  await page.goto(`${url}?${new URLSearchParams({ peers: PEER, rotates: "" })}`);
  await firstBlock(page);
  await page.waitForFunction((signer) => document.getElementById("events").innerText.includes(signer), signer);
  check("the signer is read from config.json again", asked === 2, asked);
  check("which ends the trouble", await page.locator("#troubles").isHidden());
  check("and nothing was said", noise.length === 0, noise);
  await context.close();
}

async function looks(browser, url, screens) {
  for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    for (const colorScheme of ["light", "dark"]) {
      const query = { ...JOINED, rate: "1", past: "150" };
      const { context, page, noise } = await open(browser, url, query, { viewport, colorScheme, deviceScaleFactor: 2, reducedMotion: "reduce" });
      await firstBlock(page);
      await page.waitForFunction(() => document.getElementById("status").dataset.state === "live");
      await page.waitForSelector("#latency-value:not(:empty)");
      const low = await page.evaluate(lowContrast);
      check(`${name}, ${colorScheme}: every text can be read`, low.length === 0, low);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      check(`${name}, ${colorScheme}: nothing sticks out`, width <= viewport.width, width);
      check(`${name}, ${colorScheme}: nothing moves for who does not want it`, await page.evaluate(() => document.getAnimations().length === 0));
      if (screens) await page.screenshot({ path: join(screens, `${name}-${colorScheme}.png`) });
      await page.locator("#blocks .open").nth(2).click();
      await page.waitForSelector("dialog[open]");
      check(`${name}, ${colorScheme}: nor in a block’s details`, (await page.evaluate(lowContrast)).length === 0, await page.evaluate(lowContrast));
      if (screens) await page.screenshot({ path: join(screens, `${name}-${colorScheme}-block.png`) });
      check(`${name}, ${colorScheme}: and nothing was said`, noise.length === 0, noise);
      await context.close();
    }
  }
  const { context, page } = await open(browser, url, JOINED, { colorScheme: "light" });
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  const dark = await background();
  await page.reload();
  check("colours are chosen once", light !== dark && (await background()) === dark, [light, dark, await background()]);
  await context.close();
  if (screens) {
    const { context, page } = await open(browser, url, {}, { deviceScaleFactor: 2 });
    await page.waitForSelector("#start:not([hidden])");
    await page.screenshot({ path: join(screens, "form.png") });
    await context.close();
  }
}

const modules = resolve(given.modules);
const { chromium } = (await import(pathToFileURL(join(modules, "playwright-core/index.js")).href)).default;
const folder = await assemble();
if (given.screens) await mkdir(given.screens, { recursive: true });
let node = null;
let browser = null;
try {
  const served = await serve(resolve(given.opp2p), folder);
  node = served.node;
  browser = await chromium.launch({ executablePath: given.browser, args: ["--no-sandbox"] });
  const axe = join(modules, "axe-core/axe.min.js");
  const every = (browser, url, screens) => states({ browser, url, open, check, axe, screens });
  const parts = { shows, holdsStill, keyboard, asks, rotates, joins, states: every, troubles, looks };
  for (const [name, part] of Object.entries(parts)) {
    if (given.only === undefined || given.only === name) await part(browser, served.url, given.screens);
  }
} catch (error) {
  check("it runs to its end", false, String(error.stack).split("\n").filter((line) => !line.includes("[err]")).slice(0, 8));
} finally {
  await browser?.close();
  node?.removeAllListeners("exit");
  if (node !== null && node.exitCode === null) {
    // The node writes into the folder until it has ended.
    const ended = new Promise((resolve) => node.on("exit", resolve));
    node.kill();
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
}
console.log(failures.length === 0 ? "all hold" : `${failures.length} do not hold`);
process.exit(failures.length === 0 ? 0 : 1);
