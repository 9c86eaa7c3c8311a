// Fresh projects around the packed package: what a developer's machine would have, and nothing of
// this repository.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../basics.mjs";
import { Lab, launch } from "../support.mjs";

export { freePort };

const HERE = path.dirname(fileURLToPath(import.meta.url));
const WEB = path.resolve(HERE, "../..");
const PACKAGE = path.join(WEB, "dist", "package");
/** Folder of the projects. */
export const ROOT = process.env.OPP2P_PROJECTS ?? path.resolve(WEB, "..", "target", "web-projects");
/** Milliseconds for one program. */
const LIMIT = 300_000;

export const TOOLS = path.join(HERE, "tools", "node_modules");

/** Runs a program to its end. Resolves to what it printed. Fails, with all of it, if the program does. */
export async function run(folder, program, ...parameters) {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, parameters, {
      cwd: folder,
      timeout: LIMIT,
      maxBuffer: 64 << 20,
      env: { ...process.env, CI: "true" },
    });
    return stdout + stderr;
  } catch (error) {
    throw new Error(
      `${program} ${parameters.join(" ")}: ${error.message}\n${error.stdout}\n${error.stderr}`,
    );
  }
}

export const npm = (folder, ...parameters) =>
  run(
    folder,
    "npm",
    ...parameters,
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  );

/** Writes files, by their paths below a folder. */
export async function write(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(
      path.join(folder, name),
      typeof text === "string" ? text : JSON.stringify(text, null, 2),
    );
  }
}

let packed;

/** Packs the package. Resolves to the path of the tarball. */
export function tarball() {
  packed ??= (async () => {
    await rm(path.join(ROOT, "tarball"), { recursive: true, force: true });
    await mkdir(path.join(ROOT, "tarball"), { recursive: true });
    await npm(PACKAGE, "pack", "--pack-destination", path.join(ROOT, "tarball"));
    const [name] = await readdir(path.join(ROOT, "tarball"));
    return path.join(ROOT, "tarball", name);
  })();
  return packed;
}

/** Makes a project with the package and other dependencies installed. Resolves to its folder. */
export async function project(name, files, dependencies = {}, fields = {}) {
  const folder = path.join(ROOT, name);
  await rm(folder, { recursive: true, force: true });
  const opp2p = `file:${await tarball()}`;
  await write(folder, {
    "package.json": {
      name,
      private: true,
      type: "module",
      ...fields,
      dependencies: { opp2p, ...dependencies },
    },
    ...files,
  });
  await npm(folder, "install");
  return folder;
}

/** A page with one script. */
export const PAGE = (script, kind = 'type="module" ') => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>opp2p</title></head>
<body><script ${kind}src="${script}"></script></body></html>
`;

/** The script of a page: observes with the options of the page's address, and keeps what happens. */
export const MAIN = (entry = "opp2p", options = "") => `
import { observe } from ${JSON.stringify(entry)};
const seen = (globalThis.seen = { blocks: [], errors: [] });
async function main() {
  try {
    const options = JSON.parse(new URLSearchParams(location.search).get("options"));
    const observer = (globalThis.observer = await observe({ ...options, ${options} }));
    observer.on("error", ({ code, message }) => seen.errors.push({ code, message }));
    for await (const { number, hash } of observer.blocks) seen.blocks.push({ number, hash });
  } catch (error) {
    seen.failed = { name: error.name, code: error.code, message: error.message };
  }
}
void main();
`;

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
  ".css": "text/css",
  ".map": "application/json",
};

const servers = [];

/** Serves a folder. Resolves to its URL. `headers` go with every answer. */
export async function serve(folder, headers = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://server");
    const file = path.join(
      folder,
      path.normalize(decodeURIComponent(pathname)),
      pathname.endsWith("/") ? "index.html" : "",
    );
    try {
      assert.ok((await stat(file)).isFile());
      response.writeHead(200, {
        "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
        ...headers,
      });
      response.end(await readFile(file));
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  servers.push(() => (server.close(), server.closeAllConnections()));
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Starts a development server. Resolves to its URL once it answers. */
export async function develop(folder, port, ...command) {
  const [program, ...parameters] = command;
  const child = spawn(program, parameters, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => (printed = (printed + data).slice(-20_000)));
  servers.push(() => {
    try {
      process.kill(-child.pid);
    } catch {
      // It has ended by itself.
    }
  });
  const url = `http://127.0.0.1:${port}/`;
  for (const until = Date.now() + LIMIT; ;) {
    if (child.exitCode !== null || Date.now() > until)
      throw new Error(`${command.join(" ")} does not serve: ${printed}`);
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return url;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The policy of a README: the directives in its only code that begins with `script-src`. */
async function stated(readme) {
  const text = (await readFile(path.resolve(WEB, "..", readme), "utf8")).replace(/\s+/g, " ");
  const [, policy, ...more] = /`(script-src [^`]*)`/.exec(text) ?? [];
  assert.ok(policy && more.length === 0, `${readme} states a policy`);
  return policy;
}

/** A strict policy that allows what a README states. The gateways of these tests have no certificate. */
export const strict = async (readme = "web/js/README.md") =>
  `default-src 'none'; img-src data:; ${(await stated(readme)).replace("wss:", "ws: wss:")}`;

/** The chain, its gateway and a browser for all tests of a file. */
export class World {
  static async start() {
    const world = new World();
    [world.lab, world.browser] = await Promise.all([Lab.start(), launch()]);
    const { address } = await world.lab.gateway("projects");
    const { rollup, signer } = world.lab.chain;
    world.options = { network: rollup, signer, peers: [address] };
    await world.lab.publish(3, 10);
    return world;
  }

  async stop() {
    for (const end of servers.splice(0)) end();
    await this.browser?.close();
    await this.lab?.stop();
  }

  query(options = {}) {
    return `?${new URLSearchParams({ options: JSON.stringify({ ...this.options, ...options }) })}`;
  }

  /** Opens a page. Resolves to it, with all complaints of its console. */
  async open(url, options) {
    const page = await this.browser.newPage();
    const complaints = [];
    page.on(
      "console",
      (message) =>
        ["warning", "error"].includes(message.type()) &&
        complaints.push(`${message.text()} (${message.location().url})`),
    );
    page.on("pageerror", (error) => complaints.push(`uncaught: ${error.stack ?? error}`));
    await page.goto(url + this.query(options));
    return { page, complaints };
  }

  /** Publishes blocks until `done` resolves to something true. */
  async publishUntil(done, what) {
    for (const until = Date.now() + 90_000; Date.now() < until;) {
      await this.lab.publish(1, 1);
      const found = await done();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`${what}: no block within 90 s`);
  }

  /**
   * Checks that a page gets blocks, with this number of workers, and without a complaint. Returns
   * its errors.
   */
  async works(url, { options = {}, workers = 1, noise = [] } = {}) {
    const { page, complaints } = await this.open(url, options);
    // A development server may reload the page.
    const look = () => page.evaluate(() => globalThis.seen).catch(() => undefined);
    let seen;
    try {
      await this.publishUntil(async () => {
        seen = await look();
        return seen?.failed || seen?.blocks.length > 1;
      }, url);
    } catch (error) {
      throw new Error(`${error.message}: ${JSON.stringify(seen)} ${complaints.join("\n")}`, {
        cause: error,
      });
    }
    assert.equal(seen.failed, undefined, JSON.stringify([seen.failed, complaints]));
    assert.equal(
      page.workers().length,
      workers,
      "the node runs in a worker, or on the page's own thread",
    );
    assert.deepEqual(
      complaints.filter((text) => !noise.some((known) => known.test(text))),
      [],
    );
    await page.close();
    return seen.errors;
  }

  /** Resolves to the error with which a page's observer fails. */
  async fails(url, options) {
    const { page } = await this.open(url, options);
    await page.waitForFunction(() => globalThis.seen?.failed, null, { timeout: 90_000 });
    const { failed } = await page.evaluate(() => globalThis.seen);
    await page.close();
    assert.equal(failed.name, "ObserverError", JSON.stringify(failed));
    return failed;
  }
}
