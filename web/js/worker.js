// The node in a worker: one node for each worker. Messages in: {start}, {networkChanged},
// {signerRead}, {ask}, {cancelRead}, {stop}. Messages out: {started} or {failed}, {kind, detail,
// payload} for reports, {answered}, {stopped}.

import { start } from "./engine.js";
import { ObserverError, asObserverError } from "./errors.js";

let node;

function failure(error) {
  const { code, message } = asObserverError(error, "worker");
  return { code, message };
}

function tell(kind, detail, payload) {
  globalThis.postMessage({ kind, detail, payload }, payload ? [payload.buffer] : []);
}

/** Answers a question: calls the node's function `what`. */
async function answer({ id, what, given }) {
  try {
    if (!node) throw new ObserverError("stopped", "the observer has ended");
    const value = await node[what](...given);
    const moved = value?.payload ? [value.payload.buffer] : [];
    globalThis.postMessage({ answered: { id, value } }, moved);
  } catch (error) {
    globalThis.postMessage({ answered: { id, failed: failure(error) } });
  }
}

globalThis.addEventListener("message", async ({ data }) => {
  try {
    if (data.start) {
      node = await start(data.start, tell);
      globalThis.postMessage({ started: node.about });
    } else if (data.networkChanged) {
      node?.networkChanged();
    } else if (data.signerRead) {
      node?.signerRead(data.signerRead.signer);
    } else if (data.ask) {
      await answer(data.ask);
    } else if (data.cancelRead !== undefined) {
      node?.cancelRead(data.cancelRead);
    } else if (data.stop) {
      await node?.stop();
      node = undefined;
      globalThis.postMessage({ stopped: true });
    }
  } catch (error) {
    globalThis.postMessage({ failed: failure(error) });
  }
});
