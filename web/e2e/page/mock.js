// A made-up chain behind the package's own interface: for viewing the page without a node, never
// shipped.
//
// `?rate=5` sets the blocks per second (default: one in two seconds), `?past=150` the number of
// blocks that arrive at once. The block number determines all events: gaps, reorgs, equivocations,
// refused messages, peers that connect, leave and are banned. `?troubles=3` begins that many
// troubles, which last until `endTroubles()` of the observer; `?rotates` begins one that lasts until
// the page has read the signer.
//
// `?behind=600` begins with a gap of that many blocks; `fetch(n)` of the observer fetches
// some; `?silent` sends no block after the first ones; `?refuse=wrong-network` or `full` lets no
// gateway in; `?unreachable` never reaches one; `?fail` fails all starts but the first.

const IDS = ["16Uiu2HAmQ7dGcE3vUe1nTq5JpVx3sRjK9aYb2LwHhZf8oCk4tGm1", "16Uiu2HAkzR2bWdX9yNfPq7mVtL4sCgJ6hEa3uTo8iKr5wYx1vBn2",
  "16Uiu2HAm8fTjLp4cRzQv2nXk7sWbYd5gMe1hUo9aVi3tKq6xGyC3", "16Uiu2HAmD5wVnB8xKtGs1pZq3jRfLy7cTe4mHa2oUi9vXk6bWgE4"];
const query = new URLSearchParams(location.search);
const RATE = Number(query.get("rate") ?? 0.5);
const PAST = Number(query.get("past") ?? 0);
const QUIET = query.has("quiet");
const TROUBLES = Number(query.get("troubles") ?? 0);
const FIRST = 142_370_000;
const BEHIND = Number(query.get("behind") ?? 0);
/** The signer of the only built-in network here. */
export const BUILT_IN = "0xaaaa45d9549eda09e70937013520214382ffc4a2";
const KINDS = [
  ["signer_wrong", "31 blocks are signed by 0xaf6e19be0f9ce7f8afd49a1824851023a8249e8a, and not by 0x715b7219d986641df9efd9c7ef01218d528e19ec",
    "give the chain's current signer as `signer`, unless these gateways lie"],
  ["no_blocks", "No block has arrived for 40 s", "give more gateways; if they have no blocks either, the sequencer has stopped"],
  ["rpc", "The JSON-RPC endpoint rpc.a-rather-long-subdomain-of-a-provider.example:8545 (no answer within 10 s) gives no answer",
    "check the URLs in `rpc`, and that they allow this page (CORS); they are tried again"],
];

/** What each refusal says: of the peers, and as an error. */
const REFUSALS = {
  "wrong-network": ["it is on chain 8453, not on chain 10", `${IDS[0]} is on chain 8453, not on chain 10`],
  full: ["the gateway is full", `the gateway ${IDS[0]} is full; it is dialled again, less and less often`],
};

export class ObserverError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ObserverError";
    this.code = code;
  }
}

let seed = 7;
function random() {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
}

function hex(bytes) {
  let text = "0x";
  for (let index = 0; index < bytes; index += 1) text += Math.floor(random() * 256).toString(16).padStart(2, "0");
  return text;
}

export class Observer extends EventTarget {
  constructor(options) {
    super();
    const isBuiltIn = !isConfiguration(options.network);
    const { l2_chain_id: chainId = 901 } = isBuiltIn ? { l2_chain_id: 10 } : parsed(options.network);
    const name = isBuiltIn ? "OP Mainnet" : `chain ${chainId}`;
    this.network = { name, chainId, blockTime: 2, signer: options.signer ?? (isBuiltIn ? BUILT_IN : null) };
    this.peerId = IDS[3];
    this.head = null;
    this.highest = null;
    this.stopped = false;
    this.troubles = [];
    this.readSigner = options.readSigner;
    this.counters = { blocks: 0, accepted: 0, rejected: {}, ignored: {}, fetched: 0, bytesIn: 0, bytesOut: 4200, memory: 9_437_184 };
    this.peers = IDS.slice(0, 3).map((id, index) => ({
      id,
      address: `${options.peers[0] ?? "/dns4/gateway.example/tcp/443/wss"}`.replace(/\/p2p\/.*/, "") + `/p2p/${id}`,
      state: "dialling",
      agent: null,
      score: 0,
      roundTrip: null,
      inMesh: false,
      delivered: 0,
      rejected: 0,
      bannedUntil: null,
      reason: null,
      index,
    }));
    this.timers = [];
    this.linked = null;
    this.parent = hex(32);
    this.number = FIRST;
    setTimeout(() => this.begin(), 150);
  }

  on(type, listener) {
    const heard = (event) => listener(event.detail);
    this.addEventListener(type, heard);
    return () => this.removeEventListener(type, heard);
  }

  tell(type, detail) {
    if (!this.stopped) this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  begin() {
    if (this.stopped) return;
    if (query.has("unreachable")) return;
    if (query.has("refuse")) return this.refuseAll(query.get("refuse"));
    for (const peer of this.peers) {
      const away = peer.index === 2;
      Object.assign(peer, away
        ? { state: "waiting", reason: "the connection was refused" }
        : { state: "connected", agent: peer.index ? "opp2p/0.1.0" : "opp2p/0.1.0", roundTrip: 23 + peer.index * 18.4, inMesh: true });
      this.tell("peer", { ...peer, what: away ? "unreachable" : "connected" });
    }
    for (let index = 0; index < TROUBLES; index += 1) this.trouble(KINDS[index]);
    if (query.has("rotates")) this.rotate();
    const now = Date.now();
    if (BEHIND > 0) return this.beginBehind();
    for (let index = 0; index < PAST; index += 1) this.next(now - (PAST - index) * 2000);
    if (query.has("silent")) return this.next(now - 32_000);
    this.timers.push(setInterval(() => this.next(Date.now()), 1000 / RATE));
  }

  refuseAll(code) {
    const [reason, message] = REFUSALS[code];
    for (const peer of this.peers) Object.assign(peer, { state: "waiting", reason, reasonCode: code, retryIn: 3.4 });
    this.tell("error", new ObserverError(code, message));
  }

  /** Only the newest block is here, and the page wants all from the first one on. */
  beginBehind() {
    this.found(FIRST + BEHIND);
    this.counters.accepted += 1;
    this.open = { id: 1, after: { number: FIRST, hash: hex(32) }, before: this.highest, missing: BEHIND, reason: null };
    this.tell("gap", { ...this.open, state: "opened" });
  }

  fetch(blocks) {
    this.counters.fetched += blocks;
    this.found(this.highest.number + 1);
  }

  /** The newest block is verified, and not linked to those before it. */
  found(number) {
    const timestamp = Math.floor(Date.now() / 1000);
    this.highest = { number, hash: hex(32) };
    this.head = { ...this.highest, timestamp, timestampMs: timestamp * 1000, receivedAt: Date.now() };
    this.tell("head", this.head);
  }

  trouble([kind, text, remedy]) {
    const since = Math.floor(Date.now() / 1000);
    const trouble = { kind, text, remedy, since: since - 74 * this.troubles.length, last: since };
    this.troubles = [...this.troubles, trouble];
    this.tell("trouble", trouble);
  }

  endTroubles() {
    const [...ended] = this.troubles;
    this.troubles = [];
    for (const trouble of ended) this.tell("trouble-ended", trouble);
  }

  async rotate() {
    this.trouble(KINDS[0]);
    this.tell("signer", { signer: (await this.readSigner()) ?? hex(20), previous: this.network.signer });
    this.endTroubles();
  }

  next(now) {
    // While a gap is being filled, blocks above it wait.
    if (this.stopped || this.filling) return;
    this.number += 1;
    const turn = this.number - FIRST;
    if (!QUIET) this.happen(turn, now);
    if (!this.filling) this.give(this.block(this.number, now, "gossip"));
  }

  give(block) {
    this.parent = block.hash;
    const peer = this.peers.find((peer) => peer.id === block.peer);
    if (peer) {
      peer.delivered += 1;
      peer.score = Math.min(40, peer.score + 0.4);
      peer.roundTrip = 20 + peer.index * 18 + random() * 6;
    }
    this.counters.blocks += 1;
    this.counters.accepted += 1;
    this.counters.bytesIn += block.size * 1.1 + 300 | 0;
    this.counters.bytesOut += 380;
    this.head = { number: block.number, hash: block.hash, timestamp: block.timestamp, timestampMs: block.timestampMs, receivedAt: block.receivedAt };
    this.highest = this.linked = { number: block.number, hash: block.hash };
    this.tell("block", block);
    this.tell("head", this.head);
  }

  block(number, now, origin) {
    const transactions = 4 + Math.floor(random() ** 2 * 46) + (random() < 0.02 ? 180 : 0);
    const list = Array.from({ length: transactions }, (_, index) => {
      const bytes = new Uint8Array(index === 0 ? 271 : 110 + Math.floor(random() ** 3 * 2400));
      bytes[0] = index === 0 ? 0x7e : random() < 0.9 ? 0x02 : 0xf8;
      return bytes;
    });
    const size = 540 + list.reduce((sum, bytes) => sum + bytes.length + 4, 0);
    const timestamp = Math.floor(now / 1000 - 0.2);
    return {
      number,
      hash: hex(32),
      parentHash: this.parent,
      timestamp,
      timestampMs: timestamp * 1000,
      version: 4,
      feeRecipient: "0x4200000000000000000000000000000000000011",
      stateRoot: hex(32),
      receiptsRoot: hex(32),
      prevRandao: hex(32),
      gasUsed: BigInt(Math.floor(43_000 + list.length * (180_000 + random() * 60_000))),
      gasLimit: 60_000_000n,
      baseFeePerGas: BigInt(Math.floor(250 + random() * 40)),
      extraData: "0x01000000fa000000060000000000000000",
      parentBeaconBlockRoot: hex(32),
      withdrawalsRoot: hex(32),
      transactionCount: list.length,
      get transactions() {
        return list;
      },
      payload: new Uint8Array(0),
      size,
      signature: origin === "gossip" ? hex(65) : null,
      origin,
      peer: IDS[random() < 0.7 ? 0 : 1],
      receivedAt: timestamp * 1000 + 380 + random() ** 4 * 900 + random() * 120,
      validation: origin === "gossip" ? 0.6 + random() : null,
    };
  }

  happen(turn, now) {
    const [first, second, third] = this.peers;
    if (turn % 40 === 12) this.gap(now);
    if (turn % 60 === 30) {
      const abandoned = [{ number: this.number - 1, hash: this.head.hash }];
      const adopted = { ...this.block(this.number - 1, now, "gossip"), peer: first.id };
      this.tell("reorg", { ancestor: { number: this.number - 2, hash: adopted.parentHash }, abandoned, adopted: [{ number: adopted.number, hash: adopted.hash }] });
      this.give(adopted);
    }
    if (turn % 70 === 50) {
      const hashes = [hex(32), hex(32)];
      this.tell("equivocation", { number: this.number, first: { number: this.number, hash: hashes[0] }, second: { number: this.number, hash: hashes[1] } });
    }
    if (turn % 25 === 9) this.refuse(second, "too_old", "the block is older than 60 seconds", "ignore", now);
    if (turn > 70 && third.state === "waiting") {
      Object.assign(third, { state: "connected", agent: "go-libp2p", roundTrip: 88, reason: null });
      this.tell("peer", { ...third, what: "connected" });
      for (let times = 0; times < 3; times += 1) this.refuse(third, "wrong_signer", "the signature is of another key than the sequencer’s", "reject", now);
      Object.assign(third, { state: "banned", inMesh: false, score: -134.2, bannedUntil: Math.floor(now / 1000) + 3600, reason: "three invalid messages" });
      this.tell("peer", { ...third, what: "banned" });
    }
  }

  refuse(peer, rule, text, verdict, at) {
    const counts = verdict === "reject" ? this.counters.rejected : this.counters.ignored;
    counts[rule] = (counts[rule] ?? 0) + 1;
    if (verdict === "reject") peer.rejected += 1;
    this.tell("rejected", { rule, text, verdict, peer: peer.id, topic: 4, at });
  }

  gap(now) {
    const missing = 8;
    const after = { number: this.number - 1, hash: this.parent };
    const before = { number: this.number + missing, hash: hex(32) };
    let left = missing;
    this.filling = true;
    const gap = (state) => ({ id: before.number, state, after, before, missing: left, reason: null });
    this.tell("gap", gap("opened"));
    const fill = () => {
      for (let step = 0; step < 2 && left > 0; step += 1, left -= 1) {
        this.counters.fetched += 1;
        this.give(this.block(this.number++, now, "request"));
      }
      this.filling = left > 0;
      if (!this.filling) this.number = before.number - 1;
      this.tell("gap", gap(left > 0 ? "changed" : "closed"));
    };
    if (PAST > 0 && this.counters.blocks < PAST) {
      while (left > 0) fill();
    } else {
      const timer = setInterval(() => {
        fill();
        if (left === 0) clearInterval(timer);
      }, 900);
      this.timers.push(timer);
    }
  }

  async stop() {
    this.stopped = true;
    for (const timer of this.timers) clearInterval(timer);
  }
}

let starts = 0;

/** Fails for some inputs, as the package does. */
export async function observe(options) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  starts += 1;
  if (query.has("fail") && starts > 1) throw new ObserverError("worker", "the worker does not start");
  if (options.network === "nowhere") {
    throw new ObserverError("network", "unknown network `nowhere`; did you mean op-mainnet? If not, give its rollup.json");
  }
  if (options.network === "ethereum") {
    throw new ObserverError("network", "unknown network `ethereum`; give its rollup.json, or one of the built-in: op-mainnet, base-mainnet, zora-mainnet");
  }
  if (isConfiguration(options.network) && !options.signer && !options.readSigner) {
    throw new ObserverError("signer", "the signer of chain 10 is not known: give `signer`");
  }
  if (!options.peers.every((peer) => peer.startsWith("/"))) {
    throw new ObserverError("address", `${options.peers[0]} is not a multiaddr: write it as /dns4/HOST/tcp/PORT/wss/p2p/PEER-ID`);
  }
  return new Observer(options);
}

function isConfiguration(network) {
  return typeof network === "object" || String(network).startsWith("{");
}

function parsed(network) {
  return typeof network === "object" ? network : JSON.parse(network);
}
