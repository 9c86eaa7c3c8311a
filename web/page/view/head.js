// The newest verified block, its age and signer, and the overall state in a few words.

import { age, byId, count, counted, setText } from "../format.js";
import { source } from "../signer.js";
import { copies } from "./copy.js";

/** Minimum milliseconds between two announcements to screen readers. */
const ANNOUNCE = 15_000;

export class HeadView {
  constructor() {
    this.said = 0;
    this.status = byId("status");
    copies(byId("head-copy"), () => this.hash, "the head’s hash");
  }

  /**
   * Shows the newest block (`null` before the first), the signer, the progress of gaps, the
   * milliseconds `since` the block, and the state of state.js.
   */
  render({ newest, block, signer, progress, since, state }) {
    this.hash = newest?.hash;
    const isLinked = newest?.isLinked ?? true;
    setText(byId("head-title"), isLinked ? "Verified head" : "Newest signed block");
    setText(byId("head-number"), newest ? count(newest.number) : "—");
    const none = state.kind === "refused" ? "no block has been accepted" : "waiting for the first block";
    setText(byId("head-hash"), newest ? newest.hash : none);
    byId("head-hash").classList.toggle("muted", !newest);
    byId("head-copy").hidden = !newest;
    setText(byId("head-age"), since === null ? "—" : age(since));
    setText(byId("head-note"), newest?.hasTime === false ? "since it came" : "since the time in the block");
    this.checks(newest, progress);
    this.signer(newest, block, signer);
    if (this.status.dataset.state !== state.kind) this.status.dataset.state = state.kind;
    setText(byId("status-name"), state.name);
    setText(byId("status-more"), state.more && `, ${state.more}`);
    byId("head-age").parentElement.dataset.state = state.kind;
    const title = newest ? `${count(newest.number)} · opp2p observer` : "opp2p observer";
    if (document.title !== title) document.title = title;
    this.announce(newest, block);
  }

  /** Says what is checked, and that the chain is not known up to the newest block yet. */
  checks(newest, progress) {
    let text = `Signature, hashes, transactions root and links ${newest ? "are" : "will be"} checked in this page.`;
    if (newest && !newest.isLinked) {
      const left = progress ? `${counted(progress.missing, "block")} below it ${progress.missing === 1 ? "is" : "are"}` : "the blocks below it are";
      text = `Its signature, hash and transactions root are right; ${left} still to come.`;
    }
    const line = byId("head-checks");
    setText(line, text);
    line.className = newest ? "yes" : "no";
  }

  signer(newest, block, signer) {
    const line = byId("head-signer");
    line.dataset.by = signer?.by ?? "";
    const isFetched = newest && block?.hash === newest.hash && block.signature === null;
    let says = "Checked against";
    if (newest) says = isFetched ? "Proved by a block signed by" : "Signed by";
    if (!signer) says = "Signatures are checked in this page.";
    else if (!signer.address) says = "Waiting for the signer’s address:";
    setText(byId("signer-says"), says);
    setText(byId("signer-address"), signer?.address ?? "");
    setText(byId("signer-source"), signer ? source(signer) : "");
  }

  announce(newest, block) {
    const now = Date.now();
    if (!newest || now - this.said <= ANNOUNCE) return;
    this.said = now;
    const transactions = block?.hash === newest.hash ? `, ${counted(block.transactionCount, "transaction")}` : "";
    const what = newest.isLinked ? "Verified head" : "Newest signed block";
    setText(byId("head-said"), `${what}: block ${count(newest.number)}${transactions}`);
  }
}
