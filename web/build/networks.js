// The built-in networks, read from the table of the core: `core/src/chain/networks/table.rs`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const TABLE = resolve(dirname(fileURLToPath(import.meta.url)), "../../core/src/chain/networks/table.rs");
const ENTRY = /\bname: "([^"\\]+)",\s*slug: "([a-z0-9_-]+)",/g;

/** Returns the name and the slug of each, in the order of the table. */
export function networks() {
  const found = [...readFileSync(TABLE, "utf8").matchAll(ENTRY)].map(([, name, slug]) => ({ name, slug }));
  assert.ok(found.some(({ slug }) => slug === "op-mainnet"), `${TABLE} has the built-in networks`);
  return found;
}
