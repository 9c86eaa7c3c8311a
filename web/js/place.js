// Where the package's files are. Bundlers recognise `new URL("…", import.meta.url)` only as it is
// written here: they copy the file and replace the expression by the URL of their copy.

/** Path of the module below the package's folder. */
const MODULE = "/wasm/opp2p_web_bg.wasm";
/**
 * A folder of dependencies that a development server has bundled, without the files beside them.
 */
const BUNDLED = /^(.*\/node_modules\/)\.[^/]+\/(?:[^?#]*\/)?deps[^/]*$/;

/** Returns the URL of the module, or `null` where scripts have no URL. */
export function moduleUrl() {
  try {
    return new URL("./wasm/opp2p_web_bg.wasm", import.meta.url);
  } catch {
    return null;
  }
}

/** Returns the URL of the executor's module, or `null` where scripts have no URL. */
export function evmUrl() {
  try {
    return new URL("./wasm/opp2p_web_evm_bg.wasm", import.meta.url);
  } catch {
    return null;
  }
}

/**
 * Returns the URL of the package's folder, with a slash at the end, where the package is served as
 * it is; or that of the folder in which a bundler that copies no files makes it look for them.
 * `null` if a bundler has moved and renamed the files.
 */
export function folder() {
  const url = moduleUrl();
  if (!url || !url.pathname.endsWith(MODULE)) return null;
  return new URL("../", url);
}

/**
 * Returns the URL of the package's folder in `node_modules` if a development server has bundled the
 * scripts (as Vite before version 8 does) but serves the folder too. Otherwise `null`.
 */
export async function unbundled() {
  const base = folder();
  const found = base && BUNDLED.exec(base.pathname.replace(/\/$/, ""));
  if (!found) return null;
  const own = new URL(`${found[1]}opp2p/`, base);
  try {
    const response = await fetch(new URL("worker.js", own));
    // A development server answers with its page to paths that it does not know.
    return response.ok && /javascript/.test(response.headers.get("content-type") ?? "")
      ? own
      : null;
  } catch {
    return null;
  }
}

/** Returns whether a URL is of another origin than this page. False where there are no pages. */
export function isForeign(url) {
  const own = globalThis.location?.origin;
  return (
    own !== undefined && own !== "null" && /^https?:$/.test(url.protocol) && url.origin !== own
  );
}
