// The troubles that last, in a panel over the end of the window: it moves nothing else.

import { byId, clock, counted, duration, element, setText } from "../format.js";

export class TroublesView {
  constructor() {
    this.panel = byId("troubles");
    this.list = byId("troubles-list");
    this.items = new Map();
  }

  /** Shows these troubles, the oldest first; `now` is in milliseconds since 1970. */
  render(troubles, now) {
    const gone = new Set(this.items.keys());
    const ordered = [...troubles].sort((one, other) => one.since - other.since);
    for (const [place, trouble] of ordered.entries()) {
      gone.delete(trouble.kind);
      let item = this.items.get(trouble.kind);
      if (!item) {
        item = makeItem();
        item.root.dataset.kind = trouble.kind;
        this.items.set(trouble.kind, item);
      }
      // Only a moved item is inserted: the others keep a selection and the place of a reader.
      if (this.list.children[place] !== item.root) this.list.insertBefore(item.root, this.list.children[place] ?? null);
      setText(item.text, sentence(trouble.text));
      setText(item.remedy, sentence(trouble.remedy));
      const lasts = Math.max(now - trouble.since * 1e3, 0);
      setText(item.since, `since ${clock(trouble.since * 1e3)}`);
      setText(item.lasts, duration(Math.floor(lasts / 1e3) * 1e3 || 1e3));
    }
    for (const kind of gone) {
      this.items.get(kind).root.remove();
      this.items.delete(kind);
    }
    if (troubles.length > 0) setText(byId("troubles-title"), counted(troubles.length, "trouble"));
    this.panel.hidden = troubles.length === 0;
  }
}

function makeItem() {
  const item = { text: element("b", ""), since: element("span", ""), lasts: element("span", "") };
  item.remedy = element("p", "trouble-remedy");
  const time = element("p", "trouble-time", item.since, " · ", item.lasts);
  item.root = element("li", "trouble", element("p", "trouble-text", item.text), time, item.remedy);
  return item;
}

function sentence(text) {
  return text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
