// node web/bench/run.js MODULE SITE NATIVE, in the root of the workspace: measures the cost of a
// validation in Node.js and in a worker of Chromium, by the MODULE (wasm-pack's folder, built with
// the feature `bench`) and by hand, and compares it with the NATIVE figures (the JSON of the
// benchmark `native`). SITE is the folder for the files that Chromium loads.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { open, withChromium } from "../build/chromium.js";
import { Folder, list } from "../build/files.js";
import { serve } from "../build/serve.js";

const [module, site, figures] = process.argv.slice(2);
const { native } = JSON.parse(figures);

const folder = new Folder(site);
for (const name of list("web/bench")) if (name !== "run.js") folder.copy(join("web/bench", name), name);
for (const name of list(module)) if (/\.(js|wasm)$/.test(name)) folder.copy(join(module, name), `wasm/${name}`);
// The libraries are unchanged except for how they import each other: workers have no import maps.
for (const library of ["curves", "hashes"]) {
  const from = join("web/node_modules/@noble", library);
  for (const name of list(from)) {
    if (!name.endsWith(".js") || name.includes("node_modules/") || name.startsWith("src/")) continue;
    const up = "../".repeat(name.split("/").length);
    const text = readFileSync(join(from, name), "utf8").replaceAll(/(['"])@noble\/(hashes|curves)\//g, `$1${up}$2/`);
    folder.put(`lib/${library}/${name}`, text);
  }
}
const snappy = readFileSync("web/node_modules/snappyjs/snappy_decompressor.js", "utf8");
folder.put("lib/snappy.js", `const exports = {};\n${snappy}\nexport { SnappyDecompressor };\n`);
folder.put("package.json", '{ "type": "module" }\n');
folder.write();

const { measure } = await import(pathToFileURL(resolve(site, "measure.js")).href);
const node = await measure(readFileSync(join(site, "wasm/opp2p_web_bg.wasm")));
let version;
const chromium = await withChromium(async (browser) => {
  version = browser.version();
  const { page, complaints } = await open(browser, await serve(site));
  const result = await page.evaluate(() => window.result);
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  return result;
});

const row = (name, cells) => console.log(name.padEnd(34) + cells.map((cell) => cell.padStart(20)).join(""));
const against = (values) => values.map((value, i) => `${value.toFixed(0)} (${(value / native[i]).toFixed(2)})`);
console.log("µs for one validation, fastest of 20 batches (times native):");
row("", ["10 txs 2.6 kB", "200 txs 61 kB", "2000 txs 1 MB"]);
row("native, same libraries", native.map((value) => value.toFixed(0)));
row(`module, Node.js ${process.versions.node}`, against(node.wasm));
row(`module, Chromium ${version.split(".")[0]}, worker`, against(chromium.wasm));
row("by hand, Node.js", against(node.hand));
row("by hand, Chromium, worker", against(chromium.hand));
row("by hand / module, Chromium", chromium.hand.map((value, i) => `${(value / chromium.wasm[i]).toFixed(1)} x`));
process.exit();
