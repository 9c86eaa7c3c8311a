// What to observe: the page's own address first, then `config.json` beside it.

/** What is asked for in the query, `?network=…&peers=…&signer=…&fromGenesis=1`, over what the file says. */
export async function parameters() {
  const told = await config();
  const query = new URLSearchParams(location.search);
  const network = query.get("network")?.trim();
  const peers = query.getAll("peers").flatMap(addresses);
  // What the file says of its own network says nothing of another one.
  const base = network ? { peers: told.peers } : told;
  return {
    network: network || base.network || "",
    peers: peers.length > 0 ? peers : base.peers.map(here),
    signer: query.get("signer")?.trim() || base.signer || undefined,
    fromGenesis: query.has("fromGenesis") ? query.get("fromGenesis") !== "0" : base.fromGenesis === true,
    name: base.name || "",
  };
}

/** The file, or nothing of it that is not as it should be. */
async function config() {
  let told = null;
  try {
    const answer = await fetch("config.json", { cache: "no-store" });
    if (answer.ok) told = await answer.json();
  } catch {
    // None, or none that can be read: then the form asks.
  }
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

/** The addresses in a text: parts between white space and commas. */
export function addresses(text) {
  return text.split(/[\s,]+/).filter((part) => part !== "");
}

/** An address in which `{host}` is the host that this page came from. */
function here(address) {
  if (!address.includes("/{host}/")) return address;
  const host = location.hostname;
  const six = host.startsWith("[") && host.endsWith("]");
  const four = /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
  const part = six ? `ip6/${host.slice(1, -1)}` : four ? `ip4/${host}` : `dns4/${host}`;
  return address.replace(/\/dns[46]?\/\{host\}\//, `/${part}/`);
}

/** A network as a person writes it: the text of a rollup.json as it is, anything else without white space around. */
export function network(text) {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed;
}
