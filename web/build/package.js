// node web/build/package.js MODULE FOLDER VERSION, in the root of the workspace: puts the npm package together from
// `web/js` and wasm-pack's MODULE folder, and loads it once to see that the optimised module works.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Folder, list } from "./files.js";

const [module, out, version] = process.argv.slice(2);
const folder = new Folder(out);

for (const name of list("web/js")) folder.copy(join("web/js", name), name);
folder.put(
  "package.json",
  `${JSON.stringify({ ...JSON.parse(readFileSync("web/js/package.json", "utf8")), version }, null, 2)}\n`,
);
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) folder.copy(name, name);
for (const name of list(module)) {
  if (/\.(js|wasm|d\.ts)$/.test(name)) folder.copy(join(module, name), `wasm/${name}`);
}
folder.write();

// A wasm-opt of another age makes modules that every check calls valid and that end at the first call.
const load = (name) => import(pathToFileURL(resolve(out, name)).href);
const wasm = await load("wasm/opp2p_web.js");
await wasm.default({ module_or_path: readFileSync(join(out, "wasm/opp2p_web_bg.wasm")) });
const report = JSON.parse(wasm.inspectMessage("base", 4, new Uint8Array(9).fill(255), 1_750_000_000));
assert.equal(report.verdict, "reject");
assert.equal(report.reason, "snappy_header");

const entry = join(out, "index.js");
if (existsSync(entry)) {
  const { observe, inspect } = await load("index.js");
  assert.equal(typeof observe, "function", "the package exports observe()");
  assert.equal(typeof inspect, "function", "the package exports inspect()");
} else {
  console.log("web/js has no index.js: the package has no entry");
}
console.log(`${out}: opp2p ${version}, loaded and works in Node.js ${process.version}`);
process.exit();
