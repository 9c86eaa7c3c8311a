// Gaps that are being filled, the log of unusual events, and the counters.

import { byId, bytes, clock, count, counted, element, setText, shortPeer } from "../format.js";

export class GapsView {
  constructor() {
    this.list = byId("gaps");
    this.items = new Map();
  }

  /** `fetched` is the number of blocks fetched since the start. */
  render(model, fetched) {
    const { gaps } = model;
    for (const [id, item] of this.items) {
      if (!gaps.has(id)) {
        item.root.remove();
        this.items.delete(id);
      }
    }
    // With one gap the fetched blocks are all of it, and the count goes on between its reports.
    const progress = gaps.size === 1 ? model.progress(fetched) : null;
    for (const gap of gaps.values()) {
      let item = this.items.get(gap.id);
      if (!item) {
        item = { text: element("p", ""), bar: element("progress", "") };
        item.bar.setAttribute("aria-label", "Blocks of the gap that are here");
        item.root = element("li", "", item.text, item.bar);
        this.items.set(gap.id, item);
        this.list.append(item.root);
      }
      const from = gap.after ? count(gap.after.number + 1) : "";
      const to = gap.before ? count(gap.before.number - 1) : "";
      const range = from && to ? (from === to ? `: ${from}` : `: ${from} to ${to}`) : "";
      const missing = progress?.missing ?? gap.missing;
      setText(item.text, `${counted(missing, "block")} missing${range}`);
      item.bar.max = Math.max(gap.most, 1);
      item.bar.value = gap.most - missing;
    }
    byId("gaps-none").hidden = gaps.size > 0;
  }
}

export class EventsView {
  constructor() {
    this.list = byId("events");
    this.newest = null;
  }

  render(model) {
    const { events, eventCount } = model;
    const state = `${eventCount} ${events[0]?.at}`;
    if (state === this.newest) return;
    this.newest = state;
    // At most a hundred lines, and only after an event.
    const items = new Map([...this.list.children].map((item) => [item.dataset.id, item]));
    const lines = events.map((event) => {
      const item = items.get(String(event.id)) ?? line(event);
      setText(item.querySelector("time"), clock(event.at));
      setText(item.querySelector(".times"), event.times > 1 ? `${count(event.times)} times` : "");
      return item;
    });
    this.list.replaceChildren(...lines);
    this.list.hidden = events.length === 0;
    byId("events-none").hidden = events.length > 0;
    setText(byId("events-count"), eventCount > 0 ? count(eventCount) : "");
  }
}

function line(event) {
  const from = event.peer ? [element("code", "peer-id", shortPeer(event.peer))] : [];
  if (from[0]) from[0].title = event.peer;
  const head = element("p", "event-head", element("b", "", event.title), ...from, element("span", "times"), element("time", ""));
  const item = element("li", "event", head, element("p", "event-text", event.text));
  item.dataset.id = event.id;
  item.dataset.kind = event.kind;
  return item;
}

export class CountersView {
  render(counters) {
    const total = (byRule) => Object.values(byRule).reduce((sum, number) => sum + number, 0);
    const rules = (byRule) =>
      Object.entries(byRule)
        .map(([rule, number]) => `${rule}: ${number}`)
        .join("\n");
    const set = (key, text, title = "") => {
      const value = byId(`count-${key}`);
      setText(value, text);
      if (value.title !== title) value.title = title;
    };
    set("blocks", count(counters.blocks));
    set("accepted", count(counters.accepted));
    set("rejected", count(total(counters.rejected)), rules(counters.rejected));
    set("ignored", count(total(counters.ignored)), rules(counters.ignored));
    set("fetched", count(counters.fetched));
    set("bytesIn", bytes(counters.bytesIn));
    set("bytesOut", bytes(counters.bytesOut));
    set("memory", bytes(counters.memory));
  }
}
