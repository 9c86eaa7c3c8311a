// Files for the scripts beside this one. Outputs are only written where they differ, so that
// dependent builds (the node embeds the page) are not repeated without need.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

/** Returns all files below a folder, as sorted paths relative to it with `/` as the separator. */
export function list(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** A folder that holds exactly the files put into it. */
export class Folder {
  #path;
  #files = new Map();

  constructor(path) {
    this.#path = path;
  }

  /** Adds a file with these bytes or text. */
  put(name, contents) {
    this.#files.set(name, Buffer.from(contents));
  }

  /** Adds a copy of a file. */
  copy(from, name) {
    this.put(name, readFileSync(from));
  }

  /** The added files, by name. */
  get files() {
    return this.#files;
  }

  /**
   * Writes the added files to disk and removes all others. `index.html` comes last: the node reads
   * a folder again when that file changes.
   */
  write() {
    for (const name of list(this.#path)) if (!this.#files.has(name)) rmSync(join(this.#path, name));
    const last = ([name]) => name === "index.html";
    const files = [...this.#files].sort((a, b) => last(a) - last(b));
    for (const [name, contents] of files) {
      const path = join(this.#path, name);
      if (existsSync(path) && readFileSync(path).equals(contents)) continue;
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, contents);
    }
  }
}
