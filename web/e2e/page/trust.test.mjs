// Whose signatures count, and who named them; links; the overall state: `node --test
// web/e2e/page/trust.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Model } from "../../page/model.js";
import { begin, source, warning } from "../../page/signer.js";
import { choose, query, typedIn } from "../../page/start.js";
import { describe } from "../../page/state.js";
import { inOrder } from "../../page/view/peers.js";

const PEER = "/dns4/gw.example/tcp/443/wss/p2p/16Uiu2HAm";
const [OWN, OTHER] = ["0xaaaa45d9549eda09e70937013520214382ffc4a2", "0x78f900000000000000000000000000000000abcd"];
const NOTHING = { network: "", peers: [], signer: "", fromGenesis: false, name: "" };
const DEVNET = { network: { l2_chain_id: 901 }, peers: ["/dns4/{host}/tcp/9223/ws/p2p/16"], signer: OWN, fromGenesis: true, name: "devnet" };
const chosen = (told, search, typed = false) => choose(told, search, typed, "127.0.0.1");

/** Stands for `observe`: knows the signer of `op-mainnet`, and of no other network. */
function node() {
  const made = [];
  const observe = async ({ network, signer, readSigner }) => {
    const found = signer ?? (network === "op-mainnet" ? OWN : null);
    if (!found && !readSigner) throw Object.assign(new Error("no signer"), { code: "signer" });
    const observer = { network: { name: String(network), signer: found }, stopped: false, stop: async () => (observer.stopped = true) };
    made.push(observer);
    return observer;
  };
  return { observe, made };
}

async function begun(told, search, typed) {
  const { observe, made } = node();
  const wanted = chosen(told, search, typed);
  const { observer, by, ignored } = await begin(observe, wanted);
  assert.deepEqual(made.filter(({ stopped }) => !stopped), [observer], "one observer is left");
  return { signer: observer.network.signer, by, warning: warning({ wanted, signer: observer.network.signer, by, ignored }) };
}

test("a link does not replace the signer of a built-in network", async () => {
  const link = `?network=op-mainnet&peers=${PEER}&signer=${OTHER}`;
  const { signer, by, warning } = await begun(NOTHING, link);
  assert.deepEqual([signer, by, warning.kind], [OWN, "network", "warn"]);
  assert.match(warning.text, new RegExp(`names another signer, ${OTHER}. It is ignored.*${OWN}`));
  // Its own signer, in any case, is no news.
  const same = await begun(NOTHING, link.replace(OTHER, OWN.toUpperCase().replace("0X", "0x")));
  assert.deepEqual(same, { signer: OWN, by: "network", warning: null });
});

test("a link does not replace the signer of the node behind the page", async () => {
  const { signer, by, warning } = await begun(DEVNET, `?signer=${OTHER}`);
  assert.deepEqual([signer, by, warning.kind], [OWN, "page", "warn"]);
});

test("a signer that only the link knows is used, with a warning that stays", async () => {
  for (const network of ['{"l2_chain_id":10}', "mode-mainnet"]) {
    const link = `?network=${encodeURIComponent(network)}&peers=${PEER}&signer=${OTHER}`;
    const { signer, by, warning } = await begun(NOTHING, link);
    assert.deepEqual([signer, by, warning.kind], [OTHER, "link", "bad"]);
    assert.match(warning.text, network.startsWith("{") ? /^Chain and signer set by the link/ : /^Signer set by the link/);
    assert.ok(warning.text.includes(OTHER));
  }
  await assert.rejects(begun(NOTHING, `?network=mode-mainnet&peers=${PEER}`), { code: "signer" });
});

test("a typed-in signer replaces any other, and is reported", async () => {
  const { signer, by, warning } = await begun(NOTHING, `?network=op-mainnet&peers=${PEER}&signer=${OTHER}`, true);
  assert.deepEqual([signer, by, warning.kind], [OTHER, "hand", "warn"]);
});

test("a link of any length is cut short in its warning", () => {
  const text = warning({ wanted: { network: "base" }, signer: OWN, by: "network", ignored: "x".repeat(100_000) }).text;
  assert.ok(text.length < 300, text.length);
});

test("each source of a signer has words", () => {
  const words = ["network", "page", "read", "hand", "link"].map((by) => source({ by, name: "Base" }));
  assert.equal(new Set(words).size, 5);
});

test("the gateways beside the page are of its own network only", () => {
  assert.deepEqual(chosen(DEVNET, "").peers, ["/ip4/127.0.0.1/tcp/9223/ws/p2p/16"]);
  assert.deepEqual(chosen(DEVNET, "?network=op-mainnet").peers, []);
  assert.deepEqual([chosen(DEVNET, "?network=10").network, chosen(DEVNET, "").name], [10, "devnet"]);
  // The same network in words is the page's own.
  const same = chosen(DEVNET, `?network=${encodeURIComponent('{ "l2_chain_id": 901 }')}`);
  assert.deepEqual([same.isOwn, same.own, same.by, same.fromGenesis], [true, OWN, "page", true]);
});

test("the form keeps what only the page knows, and the link leads back to it", () => {
  const before = chosen(DEVNET, "");
  const own = before.peers;
  assert.equal(query(before, own), "");
  const again = typedIn({ network: '{"l2_chain_id":901}', peers: PEER, signer: "" }, before);
  assert.deepEqual([again.own, again.by, again.isOwn, again.name], [OWN, "page", true, "devnet"]);
  assert.equal(query(again, own), `?peers=${PEER}`);
  assert.deepEqual(chosen(DEVNET, query(again, own)).peers, [PEER]);
  const other = typedIn({ network: " base ", peers: `${PEER}, ${PEER}2`, signer: OTHER }, before);
  assert.deepEqual([other.own, other.by, other.isOwn, other.readSigner], [null, "hand", false, undefined]);
  const back = chosen(DEVNET, query(other, own), true);
  assert.deepEqual([back.network, back.peers, back.signer, back.by], ["base", [PEER, `${PEER}2`], OTHER, "hand"]);
  const pasted = typedIn({ network: '{"l2_chain_id":7}', peers: PEER, signer: OTHER }, null);
  assert.equal(chosen(NOTHING, query(pasted, [])).network, '{"l2_chain_id":7}');
});

const connected = [{ state: "connected" }];
const seen = (more, peers = connected) => {
  const observer = { stopped: false, peers, network: { blockTime: 2 } };
  return describe({ observer, starting: false, online: true, crashed: false, progress: null, newest: {}, refusal: null, since: 1000, ...more });
};

test("the state shows what a visitor needs to know first", () => {
  const names = (more, peers) => Object.values(seen(more, peers)).join("|");
  assert.equal(names({}), "live|Live|");
  assert.equal(names({ since: 10_001 }), "stale|Stale|no new block for 10 s");
  assert.equal(names({ progress: { done: 1, most: 3, missing: 2000 }, since: 1e9 }), "behind|Catching up 33 %|2,000 to go");
  assert.equal(names({ newest: null, since: null, progress: { done: 0, most: 5, missing: 5 } }), "behind|Catching up 0 %|5 to go");
  assert.equal(names({ newest: null, since: null }), "connecting|Waiting|no block yet");
  assert.equal(names({}, [{ state: "dialling" }]), "connecting|Reconnecting|");
  assert.equal(names({ newest: null }, [{ state: "waiting" }]), "connecting|Connecting|");
  assert.equal(names({ online: false }, [{ state: "waiting" }]), "stale|Offline|this device has no network");
  assert.equal(names({ refusal: "full" }, [{ state: "waiting" }]), "refused|Refused|the gateway is full");
  assert.equal(names({ refusal: "full" }), "live|Live|", "another gateway is connected");
  assert.equal(names({ refusal: "wrong-signer" }), "refused|Refused|the blocks have another signer");
  assert.equal(names({}, [{ state: "banned" }]), "refused|Refused|every gateway broke the rules");
  assert.equal(names({ crashed: true }), "stopped|Crashed|load the page again");
  assert.equal(names({ observer: null, starting: true }), "connecting|Starting|");
});

test("the newest verified block is shown, linked or not", () => {
  const id = (number) => ({ number, hash: `0x${number}` });
  const head = { ...id(5), timestampMs: 7000 };
  const looked = (seen, model = new Model()) => {
    model.look(seen, 9000);
    const { number, since, isLinked } = model.newest;
    return [number, since, isLinked];
  };
  assert.deepEqual(looked({ head, highest: id(5), linked: id(5) }), [5, 7000, true]);
  assert.deepEqual(looked({ head, highest: id(5), linked: id(2) }), [5, 7000, false]);
  assert.deepEqual(looked({ head, highest: id(5), linked: null }), [5, 7000, false]);
  // A block without a time is as old as it has been seen here.
  const model = new Model();
  assert.deepEqual(looked({ head, highest: id(8), linked: head }, model), [8, 9000, false]);
  model.look({ head, highest: id(8), linked: head }, 12_000);
  assert.equal(model.newest.since, 9000);
  model.look({ head: null, highest: null, linked: null }, 1);
  assert.equal(model.newest, null);
});

test("progress counts blocks fetched between two reports, and is complete only at its end", () => {
  const model = new Model();
  const gap = (state, missing) => model.gap({ id: 1, state, after: null, before: null, missing, reason: null }, 10);
  assert.equal(model.progress(10), null);
  gap("opened", 100);
  assert.deepEqual(model.progress(10), { done: 0, most: 100, missing: 100 });
  assert.deepEqual(model.progress(50), { done: 40, most: 100, missing: 60 });
  gap("changed", 30);
  assert.deepEqual(model.progress(50), { done: 70, most: 100, missing: 30 });
  assert.deepEqual(model.progress(500), { done: 99, most: 100, missing: 1 });
  gap("closed", 0);
  assert.equal(model.progress(500), null);
});

test("connected peers come first, those in the mesh before others", () => {
  const peer = (id, state, inMesh = false) => ({ id, state, inMesh });
  const peers = [peer(1, "banned"), peer(2, "waiting"), peer(3, "connected"), peer(4, "dialling"), peer(5, "connected", true), peer(6, "waiting")];
  assert.deepEqual(inOrder(peers).map(({ id }) => id), [5, 3, 4, 2, 6, 1]);
});
