// node web/build/package.js MODULE EVM FOLDER VERSION, in the root of the workspace: assembles the
// npm package from `web/js` and wasm-pack's folders of the two modules, and loads it once to check
// that the optimised modules work.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { Folder, list } from "./files.js";

const [module, evm, out, version] = process.argv.slice(2);
const folder = new Folder(out);

for (const name of list("web/js")) folder.copy(join("web/js", name), name);
folder.put(
  "package.json",
  `${JSON.stringify({ ...JSON.parse(readFileSync("web/js/package.json", "utf8")), version }, null, 2)}\n`,
);
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) folder.copy(name, name);
for (const built of [module, evm]) {
  for (const name of list(built)) {
    if (/\.(js|wasm|d\.ts)$/.test(name)) folder.copy(join(built, name), `wasm/${name}`);
  }
}
// For `opp2p/inline`: the module in a script. Base64 of gzip is half as long as base64 alone.
const packed = gzipSync(readFileSync(join(module, "opp2p_web_bg.wasm")), { level: 9 }).toString("base64");
folder.put("embedded.js", `// The WebAssembly module: base64 of gzip.\nexport default "${packed}";\n`);
folder.write();

// A wasm-opt of the wrong version makes modules that every check calls valid and that abort at the
// first call.
const load = (name) => import(pathToFileURL(resolve(out, name)).href);
const wasm = await load("wasm/opp2p_web.js");
await wasm.default({ module_or_path: readFileSync(join(out, "wasm/opp2p_web_bg.wasm")) });
const report = JSON.parse(wasm.inspectMessage("base", 4, new Uint8Array(9).fill(255), 1_750_000_000));
assert.equal(report.verdict, "reject");
assert.equal(report.reason, "snappy_header");

// A call that needs the account of its caller.
const executor = await load("wasm/opp2p_web_evm.js");
await executor.default({ module_or_path: readFileSync(join(out, "wasm/opp2p_web_evm_bg.wasm")) });
const zero = `0x${"0".repeat(40)}`;
const job = {
  purpose: "Call",
  chain_id: 10,
  rules: "Jovian",
  block: { number: 1, timestamp: 1, beneficiary: zero, gas_limit: 1, base_fee: 1, mix_hash: `0x${"0".repeat(64)}` },
  call: { from: zero, to: zero, gas: null, fees: "Free", value: "0x0", input: "0x", access_list: [], authorizations: null },
  state: { accounts: [], codes: [], block_hashes: [] },
};
const { Missing } = JSON.parse(executor.execute(JSON.stringify(job)));
assert.deepEqual(Missing.accounts, [[zero, []]]);

for (const entry of ["index.js", "static.js", "inline.js"]) {
  const { observe, inspect } = await load(entry);
  assert.equal(typeof observe, "function", `${entry} exports observe()`);
  const { verdict } = await inspect("base", 4, new Uint8Array(9).fill(255), 1_750_000_000_000);
  assert.equal(verdict, "reject", `${entry} exports inspect()`);
}
for (const [entry, name] of [
  ["provider.js", "createProvider"],
  ["viem.js", "opp2p"],
  ["react.js", "useHead"],
  ["shared.js", "shared"],
])
  assert.equal(typeof (await load(entry))[name], "function", `${entry} exports ${name}()`);
console.log(`${out}: opp2p ${version}, loaded and works in Node.js ${process.version}`);
process.exit();
