// The head, its age, and the state of it all in one word.

import { age, byId, count, counted, setText } from "../format.js";
import { copies } from "./copy.js";

/** Milliseconds between two announcements to screen readers. */
const ANNOUNCE = 15_000;
/** Block times without a block after which the head is no more called live. */
const PATIENCE = 5;

export class HeadView {
  constructor() {
    this.said = 0;
    this.status = byId("status");
    copies(byId("head-copy"), () => this.hash, "the head’s hash");
  }

  /** Shows a head, `null` before the first. */
  head(head, newest) {
    this.hash = head?.hash;
    this.timestamp = head ? head.timestamp * 1e3 : null;
    setText(byId("head-number"), head ? count(head.number) : "—");
    setText(byId("head-hash"), head ? head.hash : "waiting for the first block");
    byId("head-hash").classList.toggle("muted", !head);
    byId("head-copy").hidden = !head;
    const now = Date.now();
    if (head && now - this.said > ANNOUNCE) {
      this.said = now;
      const transactions = newest?.hash === head.hash ? `, ${counted(newest.transactionCount, "transaction")}` : "";
      setText(byId("head-said"), `Verified head: block ${head.number}${transactions}`);
    }
    document.title = head ? `${count(head.number)} · opp2p observer` : "opp2p observer";
  }

  /** What changes with the time alone. */
  tick(observer, gaps, starting) {
    const since = this.timestamp === null || this.timestamp === undefined ? null : Date.now() - this.timestamp;
    setText(byId("head-age"), since === null ? "—" : age(since));
    const [state, text] = describe(observer, gaps, since, starting);
    if (this.status.dataset.state !== state) this.status.dataset.state = state;
    setText(this.status, text);
    byId("head-age").parentElement.dataset.state = state;
  }
}

function describe(observer, gaps, since, starting) {
  if (!observer) return starting ? ["connecting", "Starting"] : ["idle", "Not started"];
  if (observer.stopped) return ["stopped", "Stopped"];
  const connected = observer.peers.some((peer) => peer.state === "connected");
  if (!connected) return ["connecting", observer.head ? "Reconnecting" : "Connecting"];
  if (!observer.head) return ["connecting", "Waiting for a block"];
  let missing = 0;
  for (const gap of gaps.values()) missing += gap.missing;
  if (missing > 0) return ["behind", `${count(missing)} missing`];
  if (since > PATIENCE * observer.network.blockTime * 1e3) return ["behind", "No new block"];
  return ["live", "Live"];
}
