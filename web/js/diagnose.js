// True reasons why something can't be loaded: the content-security policy, as the browser reports
// it; or else the answer of the server.

import { isForeign } from "./place.js";

/** Maximum number of violations that are kept. */
const KEPT = 32;
/** Milliseconds in which a browser reports a violation after its effect. */
const REPORT_MS = 100;
/** Milliseconds for a server to answer. */
const ANSWER_MS = 5000;

/** What the browser names as the URI if the compilation of WebAssembly is forbidden. */
export const EVALUATION = /^(wasm-eval|wasm-unsafe-eval|eval)$/;

/**
 * Collects violations of the content-security policy, as `{ directive, uri }`, until `end()`. Calls
 * `each` for every one.
 */
export function violations(each = () => {}) {
  const seen = [];
  const target = globalThis.document ?? globalThis;
  const note = ({ effectiveDirective, violatedDirective, blockedURI, disposition }) => {
    if (disposition === "report") return;
    const violation = {
      directive: (effectiveDirective || violatedDirective || "").split(" ")[0],
      uri: String(blockedURI ?? ""),
    };
    if (seen.length < KEPT) seen.push(violation);
    each(violation);
  };
  target.addEventListener?.("securitypolicyviolation", note);
  return { seen, end: () => target.removeEventListener?.("securitypolicyviolation", note) };
}

/** Waits until the browser has reported violations that have taken effect. */
export const reported = () => new Promise((resolve) => setTimeout(resolve, REPORT_MS));

/** Returns the sentence about a violation: the forbidden thing and the rule that would allow it. */
export function forbidden({ directive, uri }) {
  if (EVALUATION.test(uri)) {
    return "the content-security policy forbids WebAssembly: it has to allow `script-src 'wasm-unsafe-eval'`";
  }
  if (uri.startsWith("trusted-types") || directive.includes("trusted-types")) {
    return "the content-security policy requires trusted types: it has to allow the policy with `trusted-types opp2p`";
  }
  return `the content-security policy forbids ${uri}: it has to allow \`${directive} ${source(uri)}\``;
}

/** Returns the source expression that allows a URL. */
function source(uri) {
  if (/^(blob|data)\b/.test(uri)) return `${uri.split(":")[0]}:`;
  try {
    const url = new URL(uri);
    return isForeign(url) || !/^https?:$/.test(url.protocol)
      ? `${url.protocol}//${url.host}`
      : "'self'";
  } catch {
    return "'self'";
  }
}

/**
 * Returns the reason why a URL can't be used, in words that follow "can't be loaded"; `null` if it
 * is answered as it should be.
 *
 * @param {URL} url
 * @param {RegExp} type of the content
 * @param {string} kind name of that type
 */
export async function answered(url, type, kind) {
  let response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout?.(ANSWER_MS) });
  } catch (error) {
    return `${url} can't be fetched (${error?.message ?? error})`;
  }
  // Only the head of the answer is of interest.
  void response.body?.cancel().catch(() => {});
  return refused(response, url, type, kind);
}

/** Returns what is wrong with an answer, in words; `null` if nothing is. */
export function refused(response, url, type, kind) {
  if (!response.ok) return `${url} is answered with HTTP status ${response.status}`;
  const found = (response.headers.get("content-type") ?? "").split(";")[0] || "no content type";
  return type.test(found)
    ? null
    : `${url} is answered with ${found} instead of ${kind} (HTTP status ${response.status})`;
}

/** The remedy for files that a bundler has not copied. */
export const COPIES =
  "bundlers that don't copy files (esbuild, Rollup) need `opp2p/inline` instead of `opp2p`, " +
  "or the options `worker` and `wasm`; " +
  'Vite before version 8 needs `optimizeDeps: { exclude: ["opp2p"] }`';
