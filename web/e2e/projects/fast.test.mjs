// The packed package in fresh projects, in Chromium against a native gateway: the environments that
// are tested on every run. `bundlers.test.mjs` has the others.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import {
  MAIN,
  PAGE,
  TOOLS,
  World,
  develop,
  freePort,
  project,
  run,
  serve,
  strict,
} from "./support.mjs";

let world, policy;

before(async () => {
  [world, policy] = await Promise.all([World.start(), strict()]);
});

after(() => world?.stop());

const bin = (name) => path.join(TOOLS, name);
const headers = () => ({ "content-security-policy": policy });

test("Vite 6, development, without configuration: in a worker and on the page's thread", async () => {
  const folder = await project("vite6", { "index.html": PAGE("/main.js"), "main.js": MAIN() });
  const port = await freePort();
  const url = await develop(
    folder,
    port,
    process.execPath,
    bin("vite6/bin/vite.js"),
    "--host",
    "127.0.0.1",
    "--port",
    String(port),
    "--strictPort",
  );
  await world.works(url);
  await world.works(url, { options: { worker: false }, workers: 0 });
});

test("Vite 8, build, without configuration, under the policy of the README", async () => {
  const folder = await project("vite8", { "index.html": PAGE("/main.js"), "main.js": MAIN() });
  await run(folder, process.execPath, bin("vite8/bin/vite.js"), "build", "--base", "./");
  const url = await serve(path.join(folder, "dist"), headers());
  await world.works(url);
  await world.works(url, { options: { worker: false }, workers: 0 });
});

test("esbuild: `opp2p/inline` in modules and in one classic script; the worker and the module by the options", async () => {
  const given = `worker: "/worker.js", wasm`;
  const folder = await project("esbuild", {
    "inline.js": MAIN("opp2p/inline"),
    "given.js": `import wasm from "opp2p/wasm";${MAIN("opp2p", given)}`,
    "plain.js": MAIN(),
    "worker.js": `import "opp2p/worker.js";`,
    "dist/inline.html": PAGE("inline.js"),
    "dist/classic.html": PAGE("classic.js", ""),
    "dist/given.html": PAGE("given.js"),
    "dist/plain/index.html": PAGE("../plain/plain.js"),
  });
  const esbuild = (...parameters) =>
    run(
      folder,
      process.execPath,
      bin("esbuild/bin/esbuild"),
      "--bundle",
      "--log-level=warning",
      ...parameters,
    );
  const silent = async (...parameters) => assert.equal(await esbuild(...parameters), "");
  await silent("--format=esm", "inline.js", "--outdir=dist");
  await silent("--format=iife", "inline.js", "--outfile=dist/classic.js");
  await silent(
    "--format=esm",
    "--loader:.wasm=file",
    "--public-path=/",
    "given.js",
    "--outdir=dist",
  );
  await silent("--format=esm", "worker.js", "--outdir=dist");
  await silent("--format=esm", "plain.js", "--outdir=dist/plain");
  const url = await serve(path.join(folder, "dist"), headers());
  for (const name of ["inline", "classic"]) await world.works(`${url}${name}.html`, { workers: 0 });
  await world.works(`${url}given.html`);
  // Without either, it says why not.
  const worker = await world.fails(`${url}plain/`);
  assert.equal(worker.code, "worker");
  assert.match(
    worker.message,
    /plain\/worker\.js is answered with HTTP status 404; bundlers that don't copy files \(esbuild, Rollup\) need `opp2p\/inline`/,
  );
  const module = await world.fails(`${url}plain/`, { worker: false });
  assert.equal(module.code, "webassembly");
  assert.match(
    module.message,
    /plain\/wasm\/opp2p_web_bg\.wasm is answered with HTTP status 404; bundlers/,
  );
  for (const { message } of [worker, module]) assert.doesNotMatch(message, /policy/);
});

/** A project of plain modules, without a bundler. */
const plain = (() => {
  let made;
  return () =>
    (made ??= project("plain", {
      "index.html": PAGE("/main.js"),
      "main.js": MAIN("/node_modules/opp2p/index.js"),
      "static.html": PAGE("/static.js"),
      "static.js": MAIN("/node_modules/opp2p/static.js"),
      "inline.html": PAGE("/inline.js"),
      "inline.js": MAIN("/node_modules/opp2p/inline.js"),
    }));
})();

test("plain modules, under the policy of the README, with every entry", async () => {
  const url = await serve(await plain(), headers());
  await world.works(url);
  await world.works(url, { options: { worker: false }, workers: 0 });
  for (const entry of ["static", "inline"])
    await world.works(`${url}${entry}.html`, { workers: 0 });
  // Trusted types: the first attempt without a policy is a violation that the browser reports.
  const trusted = await serve(await plain(), {
    "content-security-policy": `${policy}; require-trusted-types-for 'script'; trusted-types opp2p`,
  });
  await world.works(trusted, { noise: [/TrustedScriptURL/] });
});

test("a policy that is too strict is named by its directive and what it forbids", async () => {
  const folder = await plain();
  const failed = async (policy, options) => {
    const url = await serve(folder, {
      "content-security-policy": `default-src 'self'; img-src data:; ${policy}`,
    });
    return world.fails(url, options);
  };
  const gateway = "ws://127.0.0.1:*";
  for (const [rules, options, code, says] of [
    [
      `script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'; connect-src 'self' ${gateway}`,
      {},
      "worker",
      /forbids http:\S+\/worker\.js: it has to allow `worker-src 'self'`/,
    ],
    [
      `script-src 'self' 'wasm-unsafe-eval'; connect-src ${gateway}`,
      {},
      "webassembly",
      /forbids http:\S+\.wasm: it has to allow `connect-src 'self'`/,
    ],
    [
      `script-src 'self' 'wasm-unsafe-eval'; connect-src ${gateway}`,
      { worker: false },
      "webassembly",
      /forbids http:\S+\.wasm: it has to allow `connect-src 'self'`/,
    ],
    [
      `script-src 'self'; connect-src 'self' ${gateway}`,
      {},
      "webassembly",
      /forbids WebAssembly: it has to allow `script-src 'wasm-unsafe-eval'`/,
    ],
    [
      `script-src 'self'; connect-src 'self' ${gateway}`,
      { worker: false },
      "webassembly",
      /forbids WebAssembly: it has to allow `script-src 'wasm-unsafe-eval'`/,
    ],
    [
      `script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${gateway}; require-trusted-types-for 'script'; trusted-types other`,
      {},
      "worker",
      /`trusted-types opp2p`/,
    ],
  ]) {
    const error = await failed(rules, options);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, says);
  }
  // A gateway that the policy forbids is an error of the running observer.
  const url = await serve(folder, {
    "content-security-policy": "default-src 'self' 'wasm-unsafe-eval'; img-src data:",
  });
  for (const worker of [true, false]) {
    const { page } = await world.open(url, { worker });
    await page.waitForFunction(
      () => globalThis.seen?.errors.some(({ code }) => code === "policy"),
      null,
      { timeout: 90_000 },
    );
    const errors = await page.evaluate(() => seen.errors.filter(({ code }) => code === "policy"));
    assert.equal(errors.length, 1, JSON.stringify(errors));
    assert.match(
      errors[0].message,
      /forbids ws:\/\/127\.0\.0\.1:\d+.*`connect-src ws:\/\/127\.0\.0\.1:\d+`/,
    );
    await page.close();
  }
});

test("the package on another origin: in a worker, if the policy allows one, and on the page's thread", async () => {
  const cdn = await serve(await plain(), {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
  });
  const folder = await project("cdn", {
    "index.html": PAGE("/main.js"),
    "main.js": MAIN(`${cdn}node_modules/opp2p/index.js`),
  });
  const url = await serve(folder);
  await world.works(url);
  await world.works(url, { options: { worker: false }, workers: 0 });
  const origin = new URL(cdn).origin;
  const narrow = await serve(folder, {
    "content-security-policy": `default-src 'self'; img-src data:; script-src 'self' 'wasm-unsafe-eval' ${origin}; worker-src 'self'; connect-src 'self' ws: ${origin}`,
  });
  assert.match((await world.fails(narrow)).message, /`worker-src blob:`/);
  await world.works(narrow, { options: { worker: false }, workers: 0 });
});

/** Runs an entry in a service worker or a shared worker of a page. Resolves to what it posts. */
const AGENT = (entry) => `
import { observe } from ${JSON.stringify(entry)};
addEventListener("install", () => skipWaiting());
async function answer(port, options) {
  try {
    const observer = await observe(options);
    for await (const { number } of observer.blocks) port.postMessage({ number });
  } catch ({ code, message }) {
    port.postMessage({ failed: { code, message } });
  }
}
addEventListener("message", ({ ports, data }) => answer(ports[0], data));
addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = ({ data }) => answer(port, data);
});
`;

test("service workers and shared workers", async () => {
  const files = { "index.html": PAGE("/blank.js"), "blank.js": "" };
  for (const entry of ["index", "static", "inline"])
    files[`${entry}-agent.js`] = AGENT(`/node_modules/opp2p/${entry}.js`);
  const url = await serve(await project("agents", files), headers());
  const posted = async (kind, entry) => {
    const { page } = await world.open(url);
    await page.evaluate(
      async ([kind, script, options]) => {
        globalThis.seen = [];
        const hear = ({ data }) => seen.push(data);
        if (kind === "shared") {
          const { port } = new SharedWorker(script, { type: "module", name: script });
          port.onmessage = hear;
          return port.postMessage(options);
        }
        const { installing, active } = await navigator.serviceWorker.register(script, {
          type: "module",
          scope: `/${script}/`,
        });
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = hear;
        (installing ?? active).postMessage(options, [port2]);
      },
      [kind, `${entry}-agent.js`, world.options],
    );
    const [first] = await world.publishUntil(
      () => page.evaluate(() => seen.length > 0 && seen),
      `${kind} ${entry}`,
    );
    await page.close();
    return first;
  };
  for (const entry of ["static", "inline"])
    assert.ok((await posted("service", entry)).number > 0, entry);
  const { failed } = await posted("service", "index");
  assert.equal(failed.code, "environment");
  assert.match(failed.message, /`opp2p\/static` instead of `opp2p`/);
  // Chromium's shared workers have no workers of their own.
  for (const entry of ["index", "static"])
    assert.ok((await posted("shared", entry)).number > 0, entry);
});

test("observers of one origin have separate persistent identities, and a returning page keeps its own", async () => {
  const url = await serve(await plain(), headers());
  const context = await world.browser.newContext();
  const open = async (worker) => {
    const page = await context.newPage();
    await page.goto(url + world.query({ identity: "persistent", worker }));
    await page.waitForFunction(() => globalThis.observer ?? globalThis.seen?.failed, null, {
      timeout: 90_000,
    });
    return { page, id: await page.evaluate(() => observer.peerId) };
  };
  const tabs = [await open(true), await open(false), await open(true)];
  assert.equal(new Set(tabs.map(({ id }) => id)).size, 3);
  await world.publishUntil(async () => {
    const counts = await Promise.all(
      tabs.map(({ page }) => page.evaluate(() => seen.blocks.length)),
    );
    return counts.every((count) => count > 0);
  }, "three tabs");
  await tabs[1].page.close();
  await tabs[0].page.evaluate(() => observer.stop());
  const [first, second] = [await open(false), await open(true)];
  assert.deepEqual(new Set([first.id, second.id]), new Set([tabs[0].id, tabs[1].id]));
  await context.close();
});

test("Node.js", async () => {
  const script = (entry) => `
    import { observe } from ${JSON.stringify(entry)};
    try {
      const observer = await observe(JSON.parse(process.argv[2]));
      await observer.ready;
      console.log("head", observer.head.number > 0);
      await observer.stop();
    } catch ({ code, message }) {
      console.log(code, message);
    }
  `;
  const folder = await project("node", {
    "main.js": script("opp2p"),
    "inline.js": script("opp2p/inline"),
    "required.cjs": `console.log(typeof require("opp2p").observe)`,
  });
  const node = (...parameters) => run(folder, process.execPath, "--no-warnings", ...parameters);
  const flags = typeof WebSocket === "function" ? [] : ["--experimental-websocket"];
  for (const name of ["main.js", "inline.js"]) {
    let printed;
    const running = node(...flags, name, JSON.stringify(world.options)).then(
      (text) => (printed = text),
    );
    await Promise.race([running, world.publishUntil(() => printed, name)]);
    assert.equal(await running, "head true\n");
  }
  if (flags.length > 0)
    assert.match(
      await node("main.js", JSON.stringify(world.options)),
      /^environment there is no WebSocket here: use Node\.js 22/,
    );
  assert.equal(await node("required.cjs"), "function\n");
});

test("the tarball has every file that it names, and nothing else", async () => {
  const folder = path.join(await plain(), "node_modules", "opp2p");
  const { exports, main, types, files } = JSON.parse(
    await readFile(path.join(folder, "package.json"), "utf8"),
  );
  const named = [
    main,
    types,
    ...Object.values(exports).flatMap((entry) =>
      typeof entry === "string" ? entry : Object.values(entry),
    ),
  ];
  for (const name of named) assert.ok((await readFile(path.join(folder, name))).length > 0, name);
  assert.ok(files.length > 0);
});
