// node web/build/sizes.js PAGE: prints the size of a visitor's download, in bytes: raw, with gzip
// and with brotli.

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { list } from "./files.js";

/**
 * Maximum size of the package's module and its worker together, compressed by brotli.
 */
const LIMIT = 712_000;
/** Maximum size of the executor's module, which is loaded at the first call, compressed by brotli. */
const EVM_LIMIT = 700_000;

function measure(page) {
  const size = (name) => (existsSync(join(page, name)) ? statSync(join(page, name)).size : null);
  return list(page)
    .filter((name) => !/\.(br|gz|map)$/.test(name))
    .map((name) => {
      const raw = size(name);
      return { name, raw, gzip: size(`${name}.gz`) ?? raw, brotli: size(`${name}.br`) ?? raw };
    });
}

const sum = (files) => ["raw", "gzip", "brotli"].map((kind) => files.reduce((all, file) => all + file[kind], 0));
const ours = (file) => /^(worker|opp2p_web_bg)-/.test(file.name);
const evm = (file) => file.name.startsWith("opp2p_web_evm_bg-");
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

/** Returns whether the package in this page is within its limit. */
export function check(page) {
  const files = measure(page);
  return sum(files.filter(ours))[2] <= LIMIT && sum(files.filter(evm))[2] <= EVM_LIMIT;
}

/** Prints all sizes. The last line gives the package's size in words. */
export function print(page) {
  const files = measure(page);
  const row = (cells) => console.log(`${cells[0].padEnd(32)}${cells.slice(1).map((cell) => String(cell).padStart(11)).join("")}`);
  row(["bytes", "raw", "gzip", "brotli"]);
  for (const { name, raw, gzip, brotli } of files) row([name, raw, gzip, brotli]);
  row(["the whole page", ...sum(files)]);
  const executor = sum(files.filter(evm))[2];
  console.log(`module for calls: ${kB(executor)} brotli of ${EVM_LIMIT / 1000} kB`);
  const [raw, gzip, brotli] = sum(files.filter(ours));
  const verdict = brotli <= LIMIT ? `of ${LIMIT / 1000} kB` : `which is above the limit of ${LIMIT / 1000} kB`;
  console.log(`module and worker: ${kB(raw)} raw, ${kB(gzip)} gzip, ${kB(brotli)} brotli ${verdict}`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) print(process.argv[2]);
