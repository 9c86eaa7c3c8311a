// The network and peers to observe: from the page's own address first, then from `config.json`
// beside it. Everything keeps the party that named it, since a link may come from anyone.

/**
 * Returns the parameters of the address, `?network=…&peers=…&signer=…&fromGenesis=1`, which
 * override the file's.
 */
export async function parameters() {
  return choose(await config(), location.search, typed() === location.search, location.hostname);
}

/** Key of the query that the form of this tab made. No link can set it. */
const TYPED = "opp2p-typed";

/** Remembers for this tab that this query comes from the form. */
export function keepTyped(search) {
  try {
    sessionStorage.setItem(TYPED, search);
  } catch {
    // Storage is forbidden here: after a reload the query counts as a link's.
  }
}

function typed() {
  try {
    return sessionStorage.getItem(TYPED);
  } catch {
    return null;
  }
}

/**
 * Returns what to observe.
 *
 * * `network`, `peers`, `fromGenesis`, `name`;
 * * `own`: the signer that the node behind this page names, and `readSigner`, which asks it again;
 * * `signer`: another one, from the address or the form;
 * * `by`: the party that chose the network and that signer: `page`, `link`, or `hand` (typed in
 *   here).
 *
 * @param told the fields of `config.json`
 * @param search the query of the page's address
 * @param typed whether this query comes from the form of this page, not from a link
 * @param host the host that this page came from
 */
export function choose(told, search, typed, host) {
  const query = new URLSearchParams(search);
  const given = network(query.get("network") ?? "");
  const isOwn = told.network !== "" && (given === "" || shown(given) === shown(told.network));
  const peers = query.getAll("peers").flatMap(addresses);
  const signer = query.get("signer")?.trim() || null;
  return {
    network: isOwn ? told.network : given,
    // The gateways beside the page are of its own network.
    peers: peers.length > 0 || !(isOwn || given === "") ? peers : told.peers.map((address) => here(address, host)),
    fromGenesis: query.has("fromGenesis") ? query.get("fromGenesis") !== "0" : isOwn && told.fromGenesis,
    // The file's signer and name do not apply to another network.
    name: isOwn ? told.name : "",
    own: (isOwn && told.signer) || null,
    readSigner: isOwn ? () => readSigner(told.network) : undefined,
    signer,
    by: typed ? "hand" : isOwn && !signer ? "page" : "link",
    isOwn,
  };
}

/** Returns what the form asks for, in the form of {@link choose}. */
export function typedIn({ network: text, peers, signer }, before) {
  const chosen = network(text);
  const asked = { network: chosen, peers: addresses(peers), signer: signer.trim() || null, by: "hand" };
  const isOwn = before?.isOwn && shown(before.network) === shown(chosen);
  // The network of the node behind this page keeps the node's own settings.
  const kept = isOwn ? before : { own: null, name: "", fromGenesis: false, readSigner: undefined };
  const { own, name, fromGenesis, readSigner } = kept;
  const again = isOwn ? { network: before.network, by: asked.signer ? "hand" : "page" } : {};
  return { ...asked, own, name, fromGenesis, readSigner, isOwn: Boolean(isOwn), ...again };
}

/** Returns the query of a link to what is observed; empty for what the page observes by itself. */
export function query({ network, peers, signer, isOwn }, own) {
  const parts = new URLSearchParams();
  if (!isOwn) parts.set("network", shown(network));
  if (!isOwn || peers.join() !== own.join()) for (const peer of peers) parts.append("peers", peer);
  if (signer) parts.set("signer", signer);
  const text = parts.toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
  return text === "" ? "" : `?${text}`;
}

/** Returns a network as the form shows it: a name, a chain id, or the text of a rollup.json. */
export function shown(network) {
  if (typeof network === "object" && network !== null) return JSON.stringify(network);
  if (typeof network !== "string" || !network.startsWith("{")) return String(network);
  try {
    return JSON.stringify(JSON.parse(network));
  } catch {
    return network;
  }
}

/** Whether a network is given by its configuration, and not by the name of a built-in one. */
export function isConfiguration(network) {
  return typeof network === "object" || String(network).startsWith("{");
}

/** Milliseconds for the file to come when the signer is read from it again. */
const READ_MS = 10_000;

/**
 * Reads the signer from the file again: the node that serves this page knows when it has changed.
 * Returns `null` for the network's own signer.
 */
async function readSigner(network) {
  const told = fields(await file({ cache: "no-store", signal: AbortSignal.timeout(READ_MS) }));
  if (JSON.stringify(told.network) !== JSON.stringify(network)) throw new Error("config.json is of another network now");
  return told.signer || null;
}

/** Without options this is the request that the document has preloaded. */
async function file(options) {
  const answer = await fetch("config.json", options);
  if (!answer.ok) throw new Error(`config.json is answered with HTTP status ${answer.status}`);
  return answer.json();
}

/** Returns the gateways that the file names. */
export async function gateways() {
  return (await config()).peers.map((address) => here(address, location.hostname));
}

let read;

/** Returns the fields of the file. It is read once. */
function config() {
  // There may be no file, or one that can't be read: the form asks.
  read ??= file().then(fields, () => fields(null));
  return read;
}

/** Returns the valid fields of the file, and defaults for all others. */
function fields(told) {
  const { network, peers, signer, fromGenesis, name } = told !== null && typeof told === "object" ? told : {};
  const text = (value) => (typeof value === "string" ? value : "");
  return {
    network: typeof network === "object" && network !== null ? network : typeof network === "number" ? network : text(network),
    peers: Array.isArray(peers) ? peers.filter((peer) => typeof peer === "string") : [],
    signer: text(signer),
    fromGenesis: fromGenesis === true,
    name: text(name),
  };
}

/** Returns the addresses in a text: parts between white space and commas. */
export function addresses(text) {
  return text.split(/[\s,]+/).filter((part) => part !== "");
}

/** Replaces `{host}` in an address by the host that this page came from. */
function here(address, host) {
  if (!address.includes("/{host}/")) return address;
  const six = host.startsWith("[") && host.endsWith("]");
  const four = /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
  const part = six ? `ip6/${host.slice(1, -1)}` : four ? `ip4/${host}` : `dns4/${host}`;
  return address.replace(/\/dns[46]?\/\{host\}\//, `/${part}/`);
}

/**
 * Returns a network from typed text, without surrounding white space: digits as a number (a chain
 * id), anything else, such as the text of a rollup.json, as text.
 */
export function network(text) {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed;
}
