// The peers as they are: one item each, kept from one drawing to the next.

import { byId, clock, count, counted, duration, element, setText, shortPeer } from "../format.js";

const STATES = { dialling: "dialling", connected: "connected", waiting: "waiting", banned: "banned" };

export class PeersView {
  constructor() {
    this.list = byId("peers");
    this.items = new Map();
  }

  clear() {
    this.list.replaceChildren();
    this.items.clear();
    setText(byId("peers-count"), "");
  }

  render(peers) {
    const gone = new Set(this.items.keys());
    for (const peer of peers) {
      gone.delete(peer.id);
      let item = this.items.get(peer.id);
      if (!item) {
        item = makeItem(peer);
        this.items.set(peer.id, item);
        this.list.append(item.root);
      }
      update(item, peer);
    }
    for (const id of gone) {
      this.items.get(id).root.remove();
      this.items.delete(id);
    }
    const connected = peers.filter((peer) => peer.state === "connected").length;
    setText(byId("peers-count"), `${connected} of ${peers.length} connected`);
  }
}

function makeItem(peer) {
  const id = element("code", "peer-id", shortPeer(peer.id));
  id.title = peer.id;
  const item = { state: element("span", "state"), agent: element("span", "agent") };
  item.address = element("p", "address", element("code", "", peer.address));
  item.note = element("p", "note");
  item.facts = {};
  const facts = element("dl", "facts");
  for (const [key, name] of [
    ["roundTrip", "round trip"],
    ["score", "score"],
    ["delivered", "delivered"],
    ["rejected", "rejected"],
  ]) {
    item.facts[key] = element("dd", "");
    facts.append(element("div", "", element("dt", "", name), item.facts[key]));
  }
  item.root = element("li", "peer", element("p", "peer-line", item.state, id, item.agent), facts, item.address, item.note);
  return item;
}

function update(item, peer) {
  const state = STATES[peer.state] ?? "waiting";
  item.root.dataset.state = state;
  setText(item.state, state === "connected" && peer.inMesh ? "in the mesh" : state);
  setText(item.agent, peer.agent ?? "");
  setText(item.facts.roundTrip, peer.roundTrip === null ? "—" : duration(peer.roundTrip));
  setText(item.facts.score, peer.score.toFixed(1).replace("-", "−"));
  setText(item.facts.delivered, count(peer.delivered));
  setText(item.facts.rejected, count(peer.rejected));
  item.facts.rejected.classList.toggle("bad", peer.rejected > 0);
  setText(item.note, note(peer));
  item.note.hidden = item.note.textContent === "";
}

function note(peer) {
  const reason = peer.reason ? `: ${peer.reason}` : "";
  if (peer.state === "banned") {
    const until = peer.bannedUntil === null ? "" : ` until ${clock(peer.bannedUntil * 1e3)}`;
    return `Banned${until}${reason}`;
  }
  if (peer.state === "waiting") {
    const seconds = typeof peer.retryIn === "number" ? ` in ${counted(Math.ceil(peer.retryIn), "second")}` : "";
    return `Tries again${seconds}${reason}`;
  }
  return "";
}
