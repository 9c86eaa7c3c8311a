// The WebAssembly module: from where it comes, and its compilation.

import { ObserverError, words } from "./errors.js";
import { COPIES, EVALUATION, forbidden, refused, reported, violations } from "./diagnose.js";
import { evmUrl, moduleUrl, unbundled } from "./place.js";

const refuse = (message, cause) => {
  throw new ObserverError("webassembly", message, { cause });
};

const tag = (value) => Object.prototype.toString.call(value);
const isBytes = (value) =>
  ArrayBuffer.isView(value) ||
  tag(value) === "[object ArrayBuffer]" ||
  tag(value) === "[object SharedArrayBuffer]";
const isResponse = (value) =>
  typeof value?.arrayBuffer === "function" && typeof value.ok === "boolean";
export const isModule = (value) => tag(value) === "[object WebAssembly.Module]";

/** Returns whether a value is a source of the module, except for a promise of one. */
export const isSource = (value) =>
  isModule(value) || isBytes(value) || isResponse(value) || isUrl(value);
const isUrl = (value) =>
  (typeof value === "string" && value !== "") || typeof value?.href === "string";

/** Fails where there is no WebAssembly. */
function mustExist() {
  if (typeof WebAssembly !== "object" || typeof WebAssembly.instantiate !== "function") {
    refuse("there is no WebAssembly here, or it is switched off");
  }
}

/** Waits for a source that the page gave as a promise. */
async function settled(source) {
  try {
    return await source;
  } catch (cause) {
    if (cause instanceof ObserverError) throw cause;
    return refuse(
      `the WebAssembly module that \`wasm\` gives can't be had (${words(cause)})`,
      cause,
    );
  }
}

/** Returns a source in a form that can be passed to a worker. */
export async function portable(source) {
  const given = await settled(source);
  if (given === undefined || isModule(given) || isBytes(given)) return given;
  if (isResponse(given)) return compile(given);
  if (isUrl(given)) return absolute(given).href;
  return unknown();
}

/**
 * Compiles the module from a source: a URL, a response, bytes or a module; a promise of one, or a
 * function that returns one. Without a source it is fetched from its place beside the scripts.
 *
 * @param {"opp2p_web" | "opp2p_web_evm"} [name] of the module that is beside the scripts
 * @throws {ObserverError} `webassembly`, with the reason
 */
export async function compile(source, name = "opp2p_web") {
  mustExist();
  const watch = violations();
  /** URLs that were asked for. */
  const asked = [];
  try {
    const given = await settled(typeof source === "function" ? source() : source);
    if (given === undefined) return await fromPlace(name, asked);
    if (isModule(given)) return given;
    if (isBytes(given)) return await WebAssembly.compile(given);
    if (isResponse(given)) return await fromResponse(given, given.url || "the response");
    if (isUrl(given)) return await fromUrl(absolute(given), asked);
    return unknown();
  } catch (error) {
    await reported();
    const said = words(error);
    // Others on this page may break the policy at the same time.
    const ours = ({ uri }) =>
      EVALUATION.test(uri) || asked.some((url) => uri === url.href || uri === url.origin);
    const violation = watch.seen.find(ours);
    if (violation) refuse(`the WebAssembly module can't be loaded: ${forbidden(violation)}`, error);
    if (/content.security.policy|\bCSP\b|unsafe-eval/i.test(said)) {
      refuse(
        `the WebAssembly module can't be loaded: ${forbidden({ directive: "script-src", uri: "wasm-eval" })}`,
        error,
      );
    }
    if (error instanceof ObserverError) throw error;
    return refuse(`the WebAssembly module can't be loaded (${said})`, error);
  } finally {
    watch.end();
  }
}

function unknown() {
  throw new ObserverError(
    "option",
    "`wasm` is neither a URL, a Response, bytes nor a WebAssembly.Module",
  );
}

function absolute(url) {
  const text = typeof url === "string" ? url : url.href;
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch (cause) {
    throw new ObserverError("option", "`wasm` is not a URL: give an absolute one", { cause });
  }
}

/** What to do if the executor's module is not beside the scripts. */
const EVM_COPY =
  "serve the package's file `wasm/opp2p_web_evm_bg.wasm` in a folder `wasm` beside this script";

async function fromPlace(name, asked) {
  const isEvm = name === "opp2p_web_evm";
  const own = await unbundled();
  const url = own ? new URL(`wasm/${name}_bg.wasm`, own) : isEvm ? evmUrl() : moduleUrl();
  if (!url)
    refuse(
      "the WebAssembly module can't be found, since this script has no URL: " +
        (isEvm
          ? "calls need a script of the type `module`"
          : "import from `opp2p/inline`, or give the option `wasm`"),
    );
  return fromUrl(url, asked, `; ${isEvm ? EVM_COPY : COPIES}`);
}

async function fromUrl(url, asked, hint = "") {
  asked.push(url);
  const files =
    url.protocol === "file:"
      ? globalThis.process?.getBuiltinModule?.("node:fs/promises")
      : undefined;
  if (files) return WebAssembly.compile(await files.readFile(url));
  let response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new ObserverError(
      "webassembly",
      `the WebAssembly module ${url} can't be fetched (${words(cause)})${hint}`,
      { cause },
    );
  }
  return fromResponse(response, url, hint);
}

async function fromResponse(response, url, hint = "") {
  const wrong = refused(response, url, /^application\/wasm$/i, "WebAssembly");
  if (!wrong && typeof WebAssembly.compileStreaming === "function")
    return WebAssembly.compileStreaming(response);
  if (!response.ok) refuse(`the WebAssembly module can't be loaded: ${wrong}${hint}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  // The wrong type is not a reason to fail: many servers don't know the right one.
  const isWasm = bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
  if (!isWasm)
    refuse(`the WebAssembly module can't be loaded: ${wrong ?? `${url} is not WebAssembly`}${hint}`);
  return WebAssembly.compile(bytes);
}
