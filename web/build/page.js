// node web/build/page.js PACKAGE FOLDER, in the root of the workspace: bundles the page from
// `web/page`, the package and uPlot, with a brotli and a gzip sibling of each file of a
// compressible type, and checks its size.
//
// The name of each bundled file has a hash of its contents, so that servers can let browsers keep
// it for ever. Only `index.html`, `config.json` and `favicon.ico` keep their names. Each script has
// a source map beside it, which only the developer's tools of a browser ask for.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { Folder } from "./files.js";
import { networks } from "./networks.js";
import { check, print } from "./sizes.js";

const WEB = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const SOURCE = join(WEB, "page");
const UPLOT = join(WEB, "node_modules/uplot/dist");
/** Browsers with module workers, `:has` and top-level `await` in modules. */
const TARGET = ["chrome111", "firefox121", "safari16.4"];
/** A reference to another file: an asset beside this one, or a module that is loaded on demand. */
const REFERENCE = /new URL\(\s*(["'])(?:\.\/)?([\w./-]+\.(?:js|wasm))\1\s*,\s*import\.meta\.url\s*\)|import\(\s*(["'])(\.[\w./-]+\.js)\3\s*\)/g;

/** Assembles the page in `out`, with the package in the folder `packed`. */
export async function assemble(packed, out) {
  const folder = new Folder(out);
  const made = await new Bundler(folder, resolve(packed)).all();
  folder.put("index.html", index(made));
  folder.copy(join(SOURCE, "config.json"), "config.json");
  folder.copy(join(SOURCE, "favicon.ico"), "favicon.ico");
  for (const [name, contents] of [...folder.files]) {
    if (!/\.(css|html|js|json|svg|wasm)$/.test(name)) continue;
    folder.put(`${name}.br`, brotli(contents));
    folder.put(`${name}.gz`, gzipSync(contents, { level: 9 }));
  }
  folder.write();
}

class Bundler {
  #folder;
  #packed;
  /** Name of each made file, by the path of its source. */
  #made = new Map();

  constructor(folder, packed) {
    this.#folder = folder;
    this.#packed = packed;
  }

  /** Makes all files. Returns the names of those that the page loads at once. */
  async all() {
    const style = await this.#bundle(join(SOURCE, "style.css"));
    const theme = await this.#bundle(join(SOURCE, "theme.js"));
    const app = await this.#bundle(join(SOURCE, "app.js"));
    const icon = this.#file(join(SOURCE, "icon.svg"));
    const packaged = (ending) => [...this.#made].filter(([path]) => path.endsWith(ending)).map(([, name]) => name);
    return { style, theme, app, icon, workers: packaged("/worker.js"), modules: packaged("/opp2p_web_bg.wasm") };
  }

  /** Adds a file as it is. Returns its name. */
  #file(path) {
    if (!this.#made.has(path)) this.#made.set(path, this.#put(path, readFileSync(path)));
    return this.#made.get(path);
  }

  #put(path, contents) {
    const ending = extname(path);
    const name = `${basename(path, ending)}-${hash(contents)}${ending}`;
    this.#folder.put(name, contents);
    return name;
  }

  /** Bundles a script or a style sheet with all that it imports. Returns its name. */
  async #bundle(path) {
    if (this.#made.has(path)) return this.#made.get(path);
    const isScript = path.endsWith(".js");
    const { outputFiles } = await build({
      entryPoints: [path],
      bundle: true,
      format: path.endsWith("theme.js") ? "iife" : "esm",
      minify: true,
      write: false,
      outdir: WEB,
      sourcemap: isScript && "external",
      target: TARGET,
      legalComments: "inline",
      logLevel: "error",
      plugins: [{ name: "page", setup: (plugin) => this.#plug(plugin) }],
    });
    const map = outputFiles.find((file) => file.path.endsWith(".map"));
    const [made, ...more] = outputFiles.filter((file) => file !== map);
    assert.equal(more.length, 0, `${path} makes one file`);
    const name = this.#put(path, map ? this.#mapped(path, made, map) : made.contents);
    this.#made.set(path, name);
    return name;
  }

  /** Adds the source map of a script. Returns the text of the script, which names it. */
  #mapped(path, script, map) {
    const parsed = JSON.parse(map.text);
    parsed.sources = parsed.sources.map((source) => this.#source(resolve(WEB, source)));
    // The node embeds the page. The library's sources are public, and longer than all of ours.
    parsed.sourcesContent = parsed.sourcesContent.map((text, at) => (parsed.sources[at].startsWith("uplot/") ? null : text));
    const name = this.#put(path.replace(/\.js$/, ".map"), JSON.stringify(parsed));
    return `${script.text}//# sourceMappingURL=${name}\n`;
  }

  /** Returns the name of a source for readers of a map. */
  #source(path) {
    const from = (name, folder) => path.startsWith(folder + sep) && `${name}/${relative(folder, path).split(sep).join("/")}`;
    return from("opp2p", this.#packed) || from("page", SOURCE) || from("uplot", UPLOT) || basename(path);
  }

  #plug(plugin) {
    plugin.onResolve({ filter: /^\.\/opp2p\// }, ({ path }) => ({ path: join(this.#packed, path.slice("./opp2p/".length)) }));
    plugin.onResolve({ filter: /^(\.|\.\.)\/vendor\// }, ({ path }) => ({ path: join(UPLOT, basename(path)) }));
    plugin.onResolve({ filter: /^\.\/[\w.]+-[0-9a-f]{16}\.js$/ }, ({ path }) => ({ path, external: true }));
    plugin.onLoad({ filter: /\.js$/ }, async ({ path }) => ({ contents: await this.#linked(path), loader: "js" }));
  }

  /** Returns the path of a file that a script refers to. */
  #target(folder, name) {
    return folder === SOURCE && name.startsWith("opp2p/") ? join(this.#packed, name.slice("opp2p/".length)) : join(folder, name);
  }

  /** Returns the text of a script whose references lead to made files. */
  async #linked(path) {
    const text = readFileSync(path, "utf8");
    const parts = [];
    let at = 0;
    for (const found of text.matchAll(REFERENCE)) {
      const target = this.#target(dirname(path), found[2] ?? found[4]);
      const name = target.endsWith(".js") ? await this.#bundle(target) : this.#file(target);
      const link = found[2] ? `new URL("./${name}", import.meta.url)` : `import("./${name}")`;
      parts.push(text.slice(at, found.index), link);
      at = found.index + found[0].length;
    }
    return parts.join("") + text.slice(at);
  }
}

/** Returns sixteen digits of a hash, at least one of them decimal: servers tell it by that. */
function hash(contents) {
  const digits = createHash("sha256").update(contents).digest("hex");
  return digits.slice(digits.search(/\d/), 48).slice(0, 16);
}

/** Returns the document, which asks for everything that the first block needs at once. */
function index({ style, theme, app, icon, workers, modules }) {
  const links = [
    `<link rel="icon" href="favicon.ico" sizes="32x32">`,
    `<link rel="icon" href="${icon}" type="image/svg+xml">`,
    `<link rel="stylesheet" href="${style}">`,
    `<script src="${theme}"></script>`,
    `<script type="module" src="${app}"></script>`,
    `<link rel="preload" href="config.json" as="fetch" crossorigin>`,
    ...workers.map((name) => `<link rel="modulepreload" href="${name}">`),
    ...modules.map((name) => `<link rel="preload" href="${name}" as="fetch" type="application/wasm" crossorigin>`),
  ];
  const options = networks().map(({ slug, name }) => `<option value="${slug}">${name.replaceAll("&", "&amp;")}</option>`);
  const fill = (text, mark, lines) => {
    assert.ok(text.includes(mark), `index.html has ${mark}`);
    return text.replace(mark, () => lines.join("\n  "));
  };
  let text = readFileSync(join(SOURCE, "index.html"), "utf8");
  text = fill(text, "<!-- assets -->", links);
  text = fill(text, "<!-- networks -->", options);
  return text.replaceAll('src="icon.svg"', `src="${icon}"`);
}

function brotli(contents) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: contents.length,
  };
  return brotliCompressSync(contents, { params });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [packed, out] = process.argv.slice(2);
  await assemble(packed, out);
  if (!check(out)) {
    print(out);
    process.exit(1);
  }
}
