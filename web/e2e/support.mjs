// Support for the end-to-end tests: the lab of native nodes, a server for the package, a line that
// can be cut, and a Chromium; firefox.mjs has Firefox. Everything is on loopback, on ports of the system's choice, and ends
// with the test.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, createServer as createTcpServer } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { pause } from "./basics.mjs";

export { pause };

const WEB = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const PACKAGE = path.join(WEB, "dist", "package");
const LAB = process.env.OPP2P_LAB ?? path.resolve(WEB, "..", "target", "debug", "examples", "lab");

/** The policy that the package must work under. */
export const STRICT =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' ws: wss:";

/** The sequencer, its gateways and liars: see tests/examples/lab. */
export class Lab {
  static async start() {
    const lab = new Lab();
    lab.process = spawn(LAB, { stdio: ["pipe", "pipe", "inherit"] });
    lab.process.on("error", (error) => {
      throw new Error(`the lab does not start (${error.message}): cargo build -p opp2p-tests --example lab`);
    });
    lab.lines = createInterface({ input: lab.process.stdout })[Symbol.asyncIterator]();
    lab.chain = await lab.ask({ do: "chain" });
    return lab;
  }

  async ask(command) {
    this.process.stdin.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error("the lab ended");
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`${command.do}: ${answer.error}`);
    return answer;
  }

  /** Starts a gateway, with room for this number of browsers if it is given. */
  gateway(name, tls, room) {
    return this.ask({ do: "gateway", name, tls, room });
  }

  async publish(count, every) {
    return (await this.ask({ do: "publish", count, every })).blocks;
  }

  async stop() {
    this.process.stdin.end();
    if (this.process.exitCode === null) await once(this.process, "exit");
  }
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json", ".css": "text/css", ".svg": "image/svg+xml" };

/** The page, which `cargo web-page` builds. */
export const PAGE = path.join(WEB, "dist", "page");

/** The policy under which the node serves the page. */
const PAGE_POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; img-src 'self' data:";

/**
 * Serves the package and a blank page, under a content-security policy; or the page, with the object
 * that `config` returns as its `config.json`. `asked` has the paths of all requests so far.
 */
export async function serve({ tls, config, root = config ? PAGE : PACKAGE, policy = config ? PAGE_POLICY : STRICT } = {}) {
  const asked = [];
  const answer = async (request, response) => {
    const { pathname } = new URL(request.url, "http://server");
    asked.push(pathname);
    response.setHeader("content-security-policy", policy);
    if (config && pathname === "/config.json") {
      response.setHeader("content-type", TYPES[".json"]);
      return response.end(JSON.stringify(config()));
    }
    const file = path.join(root, path.normalize(pathname));
    try {
      const isBlank = pathname === "/" && root === PACKAGE;
      const name = pathname === "/" ? path.join(root, "index.html") : file;
      const data = isBlank ? "<!doctype html><title>opp2p</title>" : await readFile(name);
      response.setHeader("content-type", TYPES[isBlank ? ".html" : path.extname(name)] ?? "text/plain");
      response.end(data);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  };
  const server = tls
    ? createTlsServer({ cert: await readFile(tls.cert), key: await readFile(tls.key) }, answer)
    : createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  return {
    asked,
    url: `${tls ? "https" : "http"}://127.0.0.1:${port}/`,
    stop: () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())),
  };
}

/**
 * A proxy to a port that can be cut, or fall silent, and be mended. `strand` is a change of network:
 * the connections of now carry nothing any more and are never closed, and new ones work. `rate` is its
 * bandwidth towards the page, in bytes a second.
 */
export async function line(port, rate = Infinity) {
  const sockets = new Set();
  const stranded = new WeakSet();
  let state = "whole";
  const server = createTcpServer((near) => {
    if (state === "cut") return near.destroy();
    const far = connect(port, "127.0.0.1");
    const works = () => state === "whole" && !stranded.has(near);
    const drip = async (data) => {
      far.pause();
      for (let at = 0; at < data.length; at += 1024) {
        await pause((1000 * 1024) / rate);
        if (works()) near.write(data.subarray(at, at + 1024));
      }
      far.resume();
    };
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("data", (data) => (socket === far && rate !== Infinity ? drip(data) : works() && other.write(data)));
      socket.on("error", () => {});
      socket.on("close", () => (sockets.delete(socket), state === "silent" || stranded.has(near) || other.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const drop = () => sockets.forEach((socket) => socket.destroy());
  return {
    port: server.address().port,
    cut: () => ((state = "cut"), drop()),
    silence: () => (state = "silent"),
    strand: () => sockets.forEach((socket) => stranded.add(socket)),
    mend: () => {
      // Data sent during the silence is lost, and a stream with a hole is useless.
      if (state === "silent") drop();
      state = "whole";
    },
    stop: () => new Promise((resolve) => (server.close(resolve), drop())),
  };
}

/**
 * Checks that the published blocks were all shown, and that the shown blocks are in order without
 * holes.
 */
export function same(shown, published) {
  const wanted = new Map(published.map((block) => [block.number, block]));
  const ours = shown.filter((block) => wanted.has(block.number));
  assert.deepEqual(ours.map((block) => [block.number, block.hash]), published.map((block) => [block.number, block.hash]));
  for (const block of ours) assert.equal(block.transactions, wanted.get(block.number).bytes);
  shown.slice(1).forEach((block, index) => {
    assert.equal(block.number, shown[index].number + 1, "each position once, in order");
    assert.equal(block.parentHash, shown[index].hash);
  });
}

/** Returns the port of a multiaddr. */
export const portOf = (address) => Number(/\/tcp\/(\d+)/.exec(address)[1]);

/** Returns the same address with another port. */
export const through = (address, port) => address.replace(/\/tcp\/\d+/, `/tcp/${port}`);

export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--ignore-certificate-errors"] });
}

/** A tab that records the reports of an observer, and all console output and uncaught errors. */
export class Tab {
  static async open(browser, url) {
    const tab = new Tab();
    tab.noise = [];
    tab.page = await browser.newPage();
    tab.page.on("console", (message) => tab.noise.push(`${message.type()}: ${message.text()}`));
    tab.page.on("pageerror", (error) => tab.noise.push(`uncaught: ${error}`));
    await tab.page.goto(url);
    return tab;
  }

  /**
   * Starts an observer in the tab. Resolves with its peer id and network, or the error's code and
   * message.
   */
  observe(options) {
    return this.page.evaluate(async (given) => {
      const { observe } = await import("/index.js");
      const kinds = ["block", "head", "gap", "reorg", "equivocation", "peer", "rejected", "trouble", "trouble-ended", "signer", "error"];
      const record = Object.fromEntries(kinds.map((kind) => [kind, []]));
      window.asked = 0;
      // A function can't be passed to the page: `reads` is what it answers.
      const { reads, ...options } = given ?? {};
      const readSigner = reads === undefined ? undefined : async () => ((window.asked += 1), reads);
      try {
        const started = performance.now();
        const observer = await observe(given && { ...options, readSigner });
        Object.assign(window, { observer, record });
        for (const kind of Object.keys(record)) {
          observer.on(kind, (detail) => {
            const since = performance.now() - started;
            if (kind === "block") {
              const { number, hash, parentHash, receivedAt, validation, origin, peer, size } = detail;
              const transactions = detail.transactions.reduce((bytes, raw) => bytes + raw.length, 0);
              record.block.push({ number, hash, parentHash, receivedAt, validation, origin, peer, size, transactions, since });
            } else if (kind === "error") {
              record.error.push({ code: detail.code, message: detail.message, since });
            } else {
              record[kind].push({ ...detail, since, at: Date.now() });
            }
          });
        }
        return { peerId: observer.peerId, network: observer.network };
      } catch (error) {
        return { failed: { name: error.name, code: error.code, message: error.message } };
      }
    }, options);
  }

  record(kind) {
    return this.page.evaluate((kind) => record[kind], kind);
  }

  /** Waits until the page's `condition` holds, with an argument for it; at most `seconds`. */
  async until(condition, argument, seconds = 30) {
    try {
      await this.page.waitForFunction(condition, argument, { timeout: seconds * 1000, polling: 50 });
    } catch (error) {
      const state = await this.page.evaluate(() => JSON.stringify({ gaps: record.gap, head: observer.head, highest: observer.highest, counters: observer.counters, errors: record.error, peers: observer.peers, troubles: observer.troubles, rejected: record.rejected }));
      throw new Error(`${condition} does not hold after ${seconds} s: ${state}`, { cause: error });
    }
  }

  /** Waits until a gateway serves the tab: from then on it misses no block. */
  connected() {
    return this.until(() => observer.peers.some((peer) => peer.state === "connected" && peer.inMesh));
  }

  /** Waits until the block of this number was handed on. The head can be above it. */
  reached(number, seconds) {
    return this.until((number) => (record.block.at(-1)?.number ?? -1) >= number, number, seconds);
  }

  peers() {
    return this.page.evaluate(() => observer.peers);
  }

  counters() {
    return this.page.evaluate(() => observer.counters);
  }

  close() {
    return this.page.close();
  }
}
