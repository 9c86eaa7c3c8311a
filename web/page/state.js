// The overall state of the observer in a few words: what a visitor has to know before believing the
// number above it.

import { count, seconds } from "./format.js";

/** Number of block times without a block after which the head is stale. */
const PATIENCE = 5;
/** Minimum of that time, in seconds. */
const LEAST_PATIENCE = 3;
/** Errors after which no block comes from a gateway, and the words for them. */
const REFUSALS = new Map([
  ["wrong-network", "the gateway is on another chain"],
  ["wrong-signer", "the blocks have another signer"],
  ["full", "the gateway is full"],
  ["wrong-peer", "the gateway has another peer id"],
]);

/** Whether an error with this code means that a gateway or all of its blocks are refused. */
export function isRefusal(code) {
  return REFUSALS.has(code);
}

/**
 * Returns the state: its kind for the colours, its short name, and more words, which may be empty.
 *
 * @param seen what is known: the observer (or null), whether one is being started, whether the
 *   device is online, the progress of open gaps, the newest signed block and the refusal of the
 *   model, and the milliseconds `since` that block (or null)
 */
export function describe({ observer, starting, online, crashed, progress, newest, refusal, since }) {
  const state = (kind, name, more = "") => ({ kind, name, more });
  if (!observer) return starting ? state("connecting", "Starting") : state("idle", "Not started");
  if (crashed) return state("stopped", "Crashed", "load the page again");
  if (observer.stopped) return state("stopped", "Stopped");
  const { peers } = observer;
  const connected = peers.filter((peer) => peer.state === "connected").length;
  if (connected === 0) {
    if (!online) return state("stale", "Offline", "this device has no network");
    if (peers.length > 0 && peers.every((peer) => peer.state === "banned")) {
      return state("refused", "Refused", "every gateway broke the rules");
    }
    if (refusal) return state("refused", "Refused", REFUSALS.get(refusal));
    return state("connecting", newest ? "Reconnecting" : "Connecting");
  }
  // Any gateway that is connected can have the right blocks.
  if (refusal === "wrong-signer") return state("refused", "Refused", REFUSALS.get(refusal));
  if (progress) {
    const share = Math.floor((100 * progress.done) / progress.most);
    return state("behind", `Catching up ${share} %`, `${count(progress.missing)} to go`);
  }
  if (!newest) return state("connecting", "Waiting", "no block yet");
  if (since > Math.max(PATIENCE * observer.network.blockTime, LEAST_PATIENCE) * 1e3) {
    return state("stale", "Stale", `no new block for ${seconds(since)}`);
  }
  return state("live", "Live");
}
