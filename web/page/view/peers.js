// The peers: one item each, kept from one rendering to the next.

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

  /** Shows the peers, connected ones first. */
  render(peers) {
    const gone = new Set(this.items.keys());
    for (const [place, peer] of inOrder(peers).entries()) {
      gone.delete(peer.id);
      let item = this.items.get(peer.id);
      if (!item) {
        item = makeItem(peer);
        this.items.set(peer.id, item);
      }
      // Only a moved item is inserted: the others keep a selection and the place of a reader.
      if (this.list.children[place] !== item.root) this.list.insertBefore(item.root, this.list.children[place] ?? null);
      update(item, peer);
    }
    for (const id of gone) {
      this.items.get(id).root.remove();
      this.items.delete(id);
    }
    // What is below the list comes after it: nothing is pushed down.
    delete byId("side").dataset.waits;
    const connected = peers.filter((peer) => peer.state === "connected").length;
    setText(byId("peers-count"), `${connected} of ${peers.length} connected`);
  }
}

/** Places of the states in the list. */
const PLACES = { connected: 1, dialling: 2, waiting: 3, banned: 4 };

/** Returns the peers by their state, those in the mesh first; the rest of the order is kept. */
export function inOrder(peers) {
  const place = (peer) => (peer.inMesh ? 0 : PLACES[peer.state] ?? 3);
  return [...peers].sort((one, other) => place(one) - place(other));
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
    const seconds = typeof peer.retryIn === "number" ? ` in ${counted(Math.max(Math.ceil(peer.retryIn), 1), "second")}` : "";
    return `Tries again${seconds}${reason}`;
  }
  return "";
}
