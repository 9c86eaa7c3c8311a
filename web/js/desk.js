// The leader's side of tabs that share a node without a shared worker. It connects them with the
// hub. leader.js is the tabs' side, and documents the frames.
//
// Bounds: a channel for each client of the hub, which bounds their number and the messages on the
// way to each.

import { namesOf } from "./group.js";
import { Hub, connection } from "./hub.js";
import { contents } from "./kept.js";
import { startOf } from "./seen.js";

export class Desk {
  #names;
  #term;
  #hub;
  #locks;
  #Channel;
  /** The channel to all tabs, and the one from them. */
  #all;
  #heard;
  /** The tabs that have joined: `{ channel, hear, last }`. */
  #tabs = new Map();
  #isEnded = false;

  /**
   * @param lead `{ group, term, gather, recent, signer }`: the name of the group, the number of
   *   this leadership, the milliseconds for tabs to join before the node starts, and what the
   *   leader's own tab has seen, see `Seen`
   * @param start `(resume, tell)` starts the node, as engine.js does
   * @param ways the parts of the browser
   */
  constructor({ group, term, gather, recent, signer }, start, ways = {}) {
    this.#names = namesOf(group);
    this.#term = term;
    this.#locks = ways.locks ?? globalThis.navigator?.locks;
    this.#Channel = ways.Channel ?? globalThis.BroadcastChannel;
    const gathered = new Promise((resolve) => setTimeout(resolve, gather));
    const begin = async (_, tell) => {
      await gathered;
      const lasts = [...this.#tabs.values()].flatMap(({ last }) => last?.number ?? []);
      const from = startOf(recent, lasts);
      const head = from && contents(from.detail, from.payload);
      return start({ head, headAt: from?.detail.receivedAt, signer }, tell);
    };
    this.#hub = new Hub(begin, () => {});
    this.#heard = new this.#Channel(this.#names.desk);
    this.#heard.onmessage = ({ data }) => void this.#take(data);
    this.#all = new this.#Channel(this.#names.all);
    this.#all.postMessage({ term, leads: true });
  }

  /** Takes a frame of a tab. */
  async #take({ from, term, ping, message }) {
    const tab = this.#tabs.get(from);
    if (ping) {
      const isKnown = tab && term === this.#term;
      if (isKnown) tab.channel.postMessage({ term, pong: true });
      else this.#all.postMessage({ term: this.#term, leads: true, to: from, heard: term });
    } else if (term === this.#term && message.start) {
      await this.#join(from, message.start);
    } else if (term === this.#term && tab) {
      const isClient = await tab.hear(message);
      if (!isClient) this.#drop(from, tab);
    }
  }

  async #join(id, { lock, last }) {
    const tab = this.#tabs.get(id) ?? this.#add(id);
    tab.last = last;
    const isClient = await tab.hear({ start: { lock } });
    if (!isClient) this.#drop(id, tab);
  }

  #add(id) {
    const channel = new this.#Channel(this.#names.tab(id));
    const post = (message) => {
      if (this.#tabs.get(id) === tab) channel.postMessage({ term: this.#term, message });
    };
    const left = () => this.#drop(id, tab);
    const hear = connection(() => this.#hub, post, left, this.#locks);
    const tab = { channel, hear, last: null };
    this.#tabs.set(id, tab);
    return tab;
  }

  #drop(id, tab) {
    if (this.#tabs.get(id) !== tab) return;
    this.#tabs.delete(id);
    tab.channel.close();
  }

  /** Stops the node, and leaves the tabs to the next leader. */
  async end() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#heard.close();
    this.#all.close();
    for (const [id, tab] of this.#tabs) this.#drop(id, tab);
    await this.#hub.end();
  }
}
