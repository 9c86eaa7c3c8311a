// The npm package as it is published: what publint and attw say about the tarball that
// `OPP2P_TARBALL` names, or about one that is packed here. `cargo all-tests -- release` packs it,
// then runs this. The checkers are installed from the npm registry.

import assert from "node:assert/strict";
import { cp, mkdir } from "node:fs/promises";
import path from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ROOT, npm, run, tarball } from "./support.mjs";

const FOLDER = path.join(ROOT, "publish");
let file;

const check = (script, ...parameters) =>
  run(FOLDER, process.execPath, path.join("node_modules", script), ...parameters);

before(async () => {
  await mkdir(FOLDER, { recursive: true });
  const needed = fileURLToPath(new URL("publish/package.json", import.meta.url));
  await cp(needed, path.join(FOLDER, "package.json"));
  await npm(FOLDER, "install");
  file = process.env.OPP2P_TARBALL ?? (await tarball());
});

test("publint finds no problem", async () => {
  assert.match(await check("publint/src/cli.js", "run", file, "--strict"), /All good/);
});

test("attw finds the types of every entry", async () => {
  const flags = ["--profile", "esm-only", "--format", "json", "--exclude-entrypoints", "wasm"];
  const { problems } = JSON.parse(
    await check("@arethetypeswrong/cli/dist/index.js", file, ...flags),
  );
  const counts = ({ resolutionKind }) => !/cjs|node10/.test(resolutionKind ?? "");
  assert.deepEqual(Object.values(problems ?? {}).flat().filter(counts), []);
});
