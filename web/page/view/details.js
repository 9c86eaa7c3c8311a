// All fields of one block, in a dialog over the page.

import { byId, bytes, clock, count, counted, duration, element, gas, setText, utc } from "../format.js";
import { source } from "../signer.js";
import { copyable } from "./copy.js";

/** Maximum number of transactions listed one by one. */
const LISTED = 200;
/** Transaction types by their first byte (EIP-2718). */
const TYPES = new Map([
  [0x01, "access list"],
  [0x02, "EIP-1559"],
  [0x03, "blob"],
  [0x04, "EIP-7702"],
  [0x7e, "deposit"],
]);

export class DetailsView {
  constructor() {
    this.dialog = byId("details");
    byId("details-close").addEventListener("click", () => this.dialog.close());
    // A click beside the dialog lands on its backdrop, which counts as the dialog itself.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => {
      byId("details-body").replaceChildren();
      this.back?.();
    });
  }

  /** Shows a block; `back` returns the focus. */
  open(block, back) {
    this.back = back;
    setText(byId("details-title"), `Block ${count(block.number)}`);
    byId("details-body").replaceChildren(verdict(block), fields(block), transactions(block));
    if (!this.dialog.open) this.dialog.showModal();
    byId("details-body").scrollTop = 0;
  }
}

function verdict(block) {
  const signed = block.signature !== null;
  const { signer } = block;
  const isKnown = ["network", "page", "read"].includes(signer?.by);
  const whose = isKnown ? "The sequencer’s signature is right" : "The signature is right, but by an unconfirmed key";
  const key = element("span", "key", element("code", "hash", signer?.address ?? "unknown"), ` ${signer ? source(signer) : ""}`);
  const list = element(
    "ul",
    "verdict",
    element("li", isKnown ? "yes" : "bad", signed ? whose : "A signed descendant proves it", key),
    element("li", "yes", "Its hash is that of its fields"),
    element("li", "yes", "Its transactions root is that of its transactions"),
    element("li", "yes", "It links to the block before it"),
    element("li", "no", "Not executed, not final"),
  );
  if (block.replaced) list.append(element("li", "bad", "Replaced: the sequencer went on on another branch"));
  return list;
}

function fields(block) {
  const list = element("dl", "fields");
  const add = (name, ...value) => list.append(element("div", "", element("dt", "", name), element("dd", "", ...value)));
  const hash = (name, value) => {
    if (value === null) add(name, element("span", "muted", "not in this fork"));
    else add(name, ...copyable(value, name.toLowerCase()));
  };
  hash("Hash", block.hash);
  hash("Parent", block.parentHash);
  const millis = block.timestampMs % 1000;
  add("Time", `${utc(block.timestamp)} (${block.timestamp}${millis ? ` s and ${millis} ms` : ""})`);
  add("Arrived", `${clock(block.receivedAt)}${block.latency === null ? "" : `, ${duration(block.latency)} after its time`}`);
  if (block.validation !== null) add("Validated in", duration(block.validation));
  add("Came by", block.origin === "gossip" ? "gossip" : "request, to fill a gap");
  if (block.peer) add("From", ...copyable(block.peer, "the peer’s id"));
  add("Gas", `${gas(block.gasUsed)} of ${gas(block.gasLimit)}`);
  add("Base fee", `${count(block.baseFeePerGas)} wei`);
  add("Size", `${bytes(block.size)}, payload version ${block.version}`);
  hash("State root", block.stateRoot);
  hash("Receipts root", block.receiptsRoot);
  hash("Withdrawals root", block.withdrawalsRoot);
  hash("Parent beacon root", block.parentBeaconBlockRoot);
  hash("Randao", block.prevRandao);
  hash("Fee recipient", block.feeRecipient);
  hash("Extra data", block.extraData);
  if (block.signature !== null) hash("Signature", block.signature);
  if (block.signer?.address) hash("Signer", block.signer.address);
  return list;
}

function transactions(block) {
  const { sizes, types } = block;
  const section = element("section", "txs");
  const total = sizes.reduce((sum, size) => sum + size, 0);
  section.append(element("h3", "", `${counted(block.transactionCount, "transaction")}, ${bytes(total)}`));
  if (sizes.length === 0) return section;
  const table = element("table", "");
  const head = element("tr", "");
  for (const [name, kind] of [["#", "right"], ["Type", ""], ["Size", "right"]]) {
    const cell = element("th", kind, name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = element("tbody", "");
  for (let index = 0; index < Math.min(sizes.length, LISTED); index += 1) {
    const type = types[index] >= 0xc0 ? "legacy" : TYPES.get(types[index]) ?? `type ${types[index]}`;
    body.append(
      element(
        "tr",
        "",
        element("td", "right muted", count(index)),
        element("td", "", type),
        element("td", "right", bytes(sizes[index])),
      ),
    );
  }
  table.append(element("thead", "", head), body);
  section.append(table);
  if (sizes.length > LISTED) section.append(element("p", "muted", `and ${count(sizes.length - LISTED)} more`));
  return section;
}
