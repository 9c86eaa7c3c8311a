// The address whose signatures are checked, and the party that named it. A link may come from
// anyone: it never replaces a signer that the page or the node behind it knows, and what it sets is
// always shown as its own.

import { isConfiguration } from "./start.js";

const same = (one, other) => (one ?? "").toLowerCase() === (other ?? "").toLowerCase();

/**
 * Starts the observer that `wanted` (of start.js) describes. Resolves to it, the party that named
 * its signer (`network`: the table of built-in networks, `page`, `link` or `hand`), and the signer
 * of the link if it was not used.
 */
export async function begin(observe, wanted) {
  const { network, peers, fromGenesis, readSigner, own, signer } = wanted;
  const options = { network, peers, fromGenesis };
  const by = own ? "page" : "network";
  let known = null;
  try {
    known = await observe({ ...options, signer: own ?? undefined, readSigner });
  } catch (error) {
    // Only the link or the form knows the signer.
    if (error?.code !== "signer" || !signer || own) throw error;
  }
  if (known && (!signer || same(signer, known.network.signer))) return { observer: known, by, ignored: null };
  if (known && wanted.by !== "hand") return { observer: known, by, ignored: signer };
  try {
    return { observer: await observe({ ...options, signer }), by: wanted.by, ignored: null };
  } finally {
    // It only told the network's own signer.
    known?.stop().catch(() => {});
  }
}

/** Returns the words for the party that named the signer. */
export function source({ by, name }) {
  switch (by) {
    case "network":
      return `${name}’s signer, built into this page`;
    case "page":
      return "named by the node that serves this page";
    case "read":
      return "read again from the node that serves this page";
    case "hand":
      return "typed in on this page";
    default:
      return "set by the link";
  }
}

/** Returns the lasting warning about a signer or a network of unknown origin; `null` if none. */
export function warning({ wanted, signer, by, ignored }) {
  const unknown = "This page does not know whether it is the key of the sequencer.";
  if (by === "link") {
    const what = isConfiguration(wanted.network) ? "Chain and signer" : "Signer";
    return { kind: "bad", text: `${what} set by the link: ${signer}. ${unknown}` };
  }
  if (by === "hand") return { kind: "warn", text: `Signer typed in here: ${signer}. ${unknown}` };
  if (ignored) {
    const text = `The link names another signer, ${short(ignored)}. It is ignored: the signatures are checked against ${signer ?? "the network’s own"}.`;
    return { kind: "warn", text };
  }
  return null;
}

/** Cuts a text of any length that a link can hold. */
function short(text) {
  return text.length > 50 ? `${text.slice(0, 50)}…` : text;
}
