// The list of blocks: one row each, the newest on top. One row at a time is in the tab order.

import { bytes, byId, count, duration, element, gas, setText, shortHash } from "../format.js";
import { BLOCKS } from "../model.js";

/** Number of rows that a page key moves by. */
const PAGE = 10;

export class BlocksView {
  /** `choose` is called with the block of a row that is opened. */
  constructor(choose) {
    this.body = byId("blocks");
    this.scroll = byId("blocks-scroll");
    this.rows = new WeakMap();
    this.current = null;
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (!row) return;
      this.makeCurrent(row);
      choose(this.rows.get(row), () => this.button(row).focus({ preventScroll: true }));
    });
    this.body.addEventListener("keydown", (event) => this.move(event));
    this.body.addEventListener("focusin", (event) => this.makeCurrent(event.target.closest("tr")));
  }

  clear() {
    this.body.replaceChildren();
    this.current = null;
    byId("blocks-empty").hidden = false;
  }

  /** Adds the model's new blocks, and marks replaced ones. */
  render(model) {
    if (model.fresh.length > 0) {
      const rows = document.createDocumentFragment();
      for (const block of model.fresh) rows.prepend(this.row(block));
      model.fresh.length = 0;
      // Keep the scroll position: a user who has scrolled down still sees the same blocks.
      const { scrollTop, scrollHeight } = this.scroll;
      this.body.prepend(rows);
      while (this.body.rows.length > BLOCKS) this.drop(this.body.lastElementChild);
      if (scrollTop > 0 && this.scroll.scrollTop === scrollTop) {
        this.scroll.scrollTop = scrollTop + this.scroll.scrollHeight - scrollHeight;
      }
      byId("blocks-empty").hidden = true;
      const focused = this.body.contains(document.activeElement);
      if (!this.current || (!focused && scrollTop === 0)) this.makeCurrent(this.body.firstElementChild);
    }
    if (model.marked) {
      model.marked = false;
      for (const row of this.body.rows) {
        if (this.rows.get(row).replaced && !row.classList.contains("replaced")) {
          row.classList.add("replaced");
          row.querySelector(".c-checks").append(element("span", "tag", "replaced"));
        }
      }
    }
  }

  row(block) {
    const row = document.createElement("tr");
    this.rows.set(row, block);
    const open = element("button", "open", count(block.number));
    open.type = "button";
    open.tabIndex = -1;
    open.setAttribute("aria-label", `Block ${count(block.number)}, details`);
    const number = element("th", "c-number", open);
    number.scope = "row";
    const signed = block.signature !== null;
    const checks = element(
      "td",
      "c-checks",
      check(signed ? "signed" : "linked", signed ? "signature checked" : "proved by a signed descendant"),
      check("hash", "hash checked"),
    );
    const delay = block.latency === null ? "fetched" : duration(block.latency);
    row.append(
      number,
      checks,
      element("td", "c-hash", element("code", "", shortHash(block.hash))),
      element("td", "c-txs right", count(block.transactionCount)),
      element("td", "c-size right", bytes(block.size)),
      element("td", "c-gas right", gas(block.gasUsed)),
      element("td", `c-delay right${block.latency === null ? " muted" : ""}`, delay),
    );
    return row;
  }

  drop(row) {
    const focused = row.contains(document.activeElement);
    row.remove();
    if (this.current === row) {
      this.current = null;
      this.makeCurrent(this.body.lastElementChild);
      if (focused) this.button(this.current)?.focus({ preventScroll: true });
    }
  }

  button(row) {
    return row?.querySelector(".open");
  }

  makeCurrent(row) {
    if (!row || row === this.current) return;
    const before = this.button(this.current);
    if (before) before.tabIndex = -1;
    this.current = row;
    this.button(row).tabIndex = 0;
  }

  move(event) {
    const rows = this.body.rows;
    const at = [...rows].indexOf(event.target.closest("tr"));
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + PAGE,
      PageUp: at - PAGE,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const row = rows[Math.min(rows.length - 1, Math.max(0, to))];
    this.makeCurrent(row);
    this.button(row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
}

/** A tick, with its meaning in words. */
function check(kind, words) {
  const made = element("span", `check ${kind}`, element("span", "hidden", `${words} `));
  made.title = words;
  return made;
}

/** Shows the keyboard hint while there are rows. */
export function blocksHint(number) {
  setText(byId("blocks-hint"), number > 0 ? "arrow keys move, Enter shows all of a block" : "");
}
