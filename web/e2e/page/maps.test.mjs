// The source maps of the page's scripts, the package and its worker among them: each leads to the
// sources, and to the right places in them. The package's own scripts are shipped as they are
// written.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const WEB = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const PAGE = join(WEB, "dist/page");
const SOURCES = { opp2p: join(WEB, "dist/package"), page: join(WEB, "page"), uplot: join(WEB, "node_modules/uplot/dist") };
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Returns the numbers of a segment: base64 digits of five bits each, lowest first, the sign last. */
function numbers(segment) {
  const all = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    assert.ok(digit >= 0, `${character} is not a digit`);
    value += (digit & 31) * 2 ** shift;
    shift += 5;
    if (digit & 32) continue;
    all.push(value % 2 ? -Math.floor(value / 2) : value / 2);
    [value, shift] = [0, 0];
  }
  return all;
}

/** Yields the places that a map joins: of the script, and of a source. */
function* places({ mappings }) {
  let [source, sourceLine, sourceColumn] = [0, 0, 0];
  for (const [line, segments] of mappings.split(";").entries()) {
    let column = 0;
    for (const segment of segments.split(",").filter(Boolean)) {
      const [columns, ...rest] = numbers(segment);
      column += columns;
      if (rest.length < 3) continue;
      [source, sourceLine, sourceColumn] = [source + rest[0], sourceLine + rest[1], sourceColumn + rest[2]];
      yield { line, column, source, sourceLine, sourceColumn };
    }
  }
}

/** Returns the words at the begin of a string literal, without the quotes; `null` for other code. */
const literal = (code) => /^["'`]([\w ,.:-]{6,})["'`]/.exec(code)?.[1] ?? null;

const scripts = readdirSync(PAGE).filter((name) => name.endsWith(".js"));
const read = (name) => readFileSync(join(PAGE, name), "utf8");
const pathOf = (source) => {
  const [folder, ...path] = source.split("/");
  return join(SOURCES[folder] ?? "", ...path);
};

/** Returns the source map that a script names. */
function mapOf(name) {
  const map = /\/\/# sourceMappingURL=(\S+)\n$/.exec(read(name))?.[1];
  assert.ok(map && existsSync(join(PAGE, map)), `${name} has the map ${map}`);
  return JSON.parse(read(map));
}

test("every script names its source map, whose sources are there", () => {
  const seen = new Set();
  for (const name of scripts) {
    const { version, sources, sourcesContent } = mapOf(name);
    assert.equal(version, 3);
    for (const [at, source] of sources.entries()) {
      assert.ok(existsSync(pathOf(source)), `the map of ${name} leads to ${source}`);
      // Of a library, the map has the name alone.
      assert.equal(sourcesContent[at] === null, source.startsWith("uplot/"), source);
      seen.add(source);
    }
  }
  for (const source of ["page/app.js", "opp2p/index.js", "opp2p/engine.js", "opp2p/worker.js"]) {
    assert.ok(seen.has(source), `a map leads to ${source}`);
  }
});

test("a place in a script leads to the same code in its source", () => {
  let compared = 0;
  for (const name of scripts) {
    const map = mapOf(name);
    const lines = read(name).split("\n");
    const sources = map.sourcesContent.map((text, at) => (text ?? readFileSync(pathOf(map.sources[at]), "utf8")).split("\n"));
    for (const { line, column, source, sourceLine, sourceColumn } of places(map)) {
      const from = sources[source]?.[sourceLine];
      assert.ok(from !== undefined && sourceColumn <= from.length, `${name}:${line + 1}:${column} leads nowhere`);
      const [made, written] = [literal(lines[line].slice(column)), literal(from.slice(sourceColumn))];
      if (made === null || written === null) continue;
      assert.equal(made, written, `${name}:${line + 1}:${column} leads to ${map.sources[source]}:${sourceLine + 1}`);
      compared += 1;
    }
  }
  assert.ok(compared > 100, `${compared} places were compared`);
});
