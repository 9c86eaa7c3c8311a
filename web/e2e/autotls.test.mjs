// AutoTLS end to end: a node without a domain obtains a certificate for its own name below
// `libp2p.direct`. A Chromium that trusts the authority's root opens the node's page, whose `wss`
// connection to that name follows the chain. A Chromium that doesn't trust it can't connect.
//
// `cargo all-tests -- autotls-browser` builds the authority and the broker, then runs this.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { forge, pebble } from "./authority.mjs";
import { freePort } from "./basics.mjs";
import { pause } from "./support.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const OPP2P = process.env.OPP2P ?? path.join(ROOT, "target", "debug", "opp2p");
const PAGE = path.join(ROOT, "web", "dist", "page");
const DOMAIN = "libp2p.direct";
/** Milliseconds for a certificate, and for blocks. */
const PATIENCE = 90_000;

const ends = [];
let folder, broker, authority, page;

/** Starts the program. Its first line of output is for the caller, its last ones for an error. */
function opp2p(...parameters) {
  const child = spawn(OPP2P, parameters, { stdio: ["ignore", "pipe", "pipe"] });
  ends.push(async () => {
    const ended = child.exitCode === null && once(child, "exit");
    child.kill();
    await ended;
  });
  child.log = "";
  child.stderr.on("data", (data) => (child.log = (child.log + data).slice(-20_000)));
  return child;
}

/** Starts a chain. Resolves with the flags of a node that joins it. */
async function devnet() {
  const data = path.join(folder, "devnet");
  const flags = ["--followers", "1", "--block-time", "0.5", "--no-web", "--json", "--print-config"];
  const child = opp2p("devnet", "--blocks", "1000", "--data-dir", data, ...flags);
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const { signer, nodes } = JSON.parse(line);
  const chain = ["--rollup.config", path.join(data, "rollup.json"), "--signer", signer];
  return [...chain, "--p2p.static", nodes[0]];
}

/** Starts the gateway. Resolves with its page's URL and its address, once that has a name. */
async function gateway(chain) {
  const [web, ws] = [await freePort(), await freePort()];
  const flags = {
    "data-dir": path.join(folder, "node"),
    "rpc.port": await freePort(),
    "p2p.listen.ip": "127.0.0.1",
    "p2p.listen.tcp": await freePort(),
    "p2p.listen.ws": ws,
    "p2p.advertise.ip": "127.0.0.1",
    "p2p.ws.tls.auto.broker": broker.broker,
    "p2p.ws.tls.acme.directory": authority.directory,
    "p2p.ws.tls.acme.ca": authority.ca,
    "web.listen": `127.0.0.1:${web}`,
    "web.root": PAGE,
  };
  const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const node = opp2p("node", "--p2p.ws.tls.auto", "--p2p.no-discovery", ...chain, ...given);
  const url = `http://127.0.0.1:${web}/`;
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const answer = await fetch(`${url}config.json`).catch(() => undefined);
    const address = (await answer?.json())?.peers.find((peer) => peer.includes(DOMAIN));
    if (address) return { url, address, port: ws };
    const said = [node.log, broker.said(), authority.said()].join("\n");
    assert.ok(Date.now() < deadline, `there is no name in time: ${said}`);
    await pause(100);
  }
}

/** Starts a Chromium in a home of its own, whose database trusts this root, if it is given. */
async function browse(name, root) {
  const home = path.join(folder, name);
  const database = path.join(home, ".pki", "nssdb");
  await mkdir(database, { recursive: true });
  const at = ["-d", `sql:${database}`];
  const certutil = (...words) => promisify(execFile)("certutil", [...at, ...words]);
  await certutil("-N", "--empty-password");
  if (root) await certutil("-A", "-n", "root", "-t", "C,,", "-i", root);
  const { XDG_CONFIG_HOME, XDG_CACHE_HOME, ...env } = process.env;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    env: { ...env, HOME: home },
    // The name's own DNS server is at a port of its own, which Chromium can't be told.
    args: ["--no-sandbox", `--host-resolver-rules=MAP *.${DOMAIN} 127.0.0.1`],
  });
  ends.push(() => browser.close());
  return browser;
}

/** Opens a WebSocket in a tab. Resolves with whether it opened. */
const opens = (tab, url) =>
  tab.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => (socket.close(), resolve(true));
        socket.onerror = () => resolve(false);
      }),
    url,
  );

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "opp2p-autotls-"));
  broker = await forge(folder, DOMAIN);
  ends.push(broker.stop);
  authority = await pebble(folder, broker.dns);
  ends.push(authority.stop);
  page = await gateway(await devnet());
});

after(async () => {
  for (const end of ends.reverse()) await end();
  await rm(folder, { recursive: true, force: true });
});

test("the node has a name below libp2p.direct, which leads to it", async () => {
  const [, name, port] = /^\/dns4\/([^/]+)\/tcp\/(\d+)\/tls\/ws\/p2p\//.exec(page.address) ?? [];
  assert.match(name ?? page.address, /^127-0-0-1\.k[0-9a-z]+\.libp2p\.direct$/);
  assert.equal(Number(port), page.port);
  assert.deepEqual(await broker.resolve(name), ["127.0.0.1"]);
  page.wss = `wss://${name}:${port}`;
});

test("a Chromium that trusts the authority follows the chain over wss", async () => {
  const tab = await (await browse("trusting", authority.root)).newPage();
  await tab.goto(page.url);
  assert.equal(await opens(tab, page.wss), true);
  const isAbove = (number) => (window.opp2p?.observer?.head?.number ?? 0) > number;
  await tab.waitForFunction(isAbove, 0, { timeout: PATIENCE });
  const first = await tab.evaluate(() => opp2p.observer.head.number);
  await tab.waitForFunction(isAbove, first + 5, { timeout: PATIENCE });
  const { peers, counters } = await tab.evaluate(() => {
    const { peers, counters } = opp2p.observer;
    return { peers: peers.map(({ address, state }) => [address, state]), counters };
  });
  assert.deepEqual(peers, [[page.address, "connected"]]);
  assert.deepEqual(counters.rejected, {});
});

test("a Chromium that does not trust the authority can't connect", async () => {
  const tab = await (await browse("careful")).newPage();
  const noise = [];
  tab.on("console", (message) => noise.push(message.text()));
  await tab.goto(page.url);
  assert.equal(await opens(tab, page.wss), false);
  assert.match(noise.join("\n"), /ERR_CERT_AUTHORITY_INVALID/);
  assert.equal(await tab.evaluate(() => window.opp2p?.observer?.head?.number ?? 0), 0);
});
