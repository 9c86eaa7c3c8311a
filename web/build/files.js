// Files for the scripts beside this one: what they write is written only where it differs, so that what is built from it
// (the node embeds the page) is not built again for nothing.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

/** All files below a folder, as sorted paths relative to it with `/` in between. */
export function list(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** A folder that is to hold what is put into it and nothing else. */
export class Folder {
  #path;
  #files = new Map();

  constructor(path) {
    this.#path = path;
  }

  /** Puts bytes or text in. */
  put(name, contents) {
    this.#files.set(name, Buffer.from(contents));
  }

  /** Puts a file in. */
  copy(from, name) {
    this.put(name, readFileSync(from));
  }

  /** What was put in, by name. */
  get files() {
    return this.#files;
  }

  /** Makes the folder on disk what was put in. */
  write() {
    for (const name of list(this.#path)) if (!this.#files.has(name)) rmSync(join(this.#path, name));
    for (const [name, contents] of this.#files) {
      const path = join(this.#path, name);
      if (existsSync(path) && readFileSync(path).equals(contents)) continue;
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, contents);
    }
  }
}
