// node web/build/page.js PACKAGE FOLDER, in the root of the workspace: puts the page together from `web/page`, the
// package and uPlot, with a brotli and a gzip sibling of each file that gains by it, and holds it to its size.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { Folder, list } from "./files.js";
import { check, print } from "./sizes.js";

const [from, out] = process.argv.slice(2);
const folder = new Folder(out);

for (const name of list("web/page")) folder.copy(join("web/page", name), name);
for (const name of list(from)) {
  if (/\.(js|wasm)$/.test(name)) folder.copy(join(from, name), `opp2p/${name}`);
}
for (const name of ["uPlot.esm.js", "uPlot.min.css"]) {
  folder.copy(join("web/node_modules/uplot/dist", name), `vendor/${name}`);
}

for (const [name, contents] of [...folder.files]) {
  if (!/\.(css|html|js|json|svg|txt|wasm|webmanifest)$/.test(name)) continue;
  const brotli = brotliCompressSync(contents, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: contents.length,
    },
  });
  folder.put(`${name}.br`, brotli);
  folder.put(`${name}.gz`, gzipSync(contents, { level: 9 }));
}
folder.write();

if (!check(out)) {
  print(out);
  process.exit(1);
}
