// The node in a worker: one node for each worker. Messages in: {start}, {networkChanged}, {stop}, {inspect}. Out:
// {started} or {failed}, {kind, detail, payload} for what happens, {stopped}, {inspected}.

import { inspect, start } from "./engine.js";
import { asObserverError } from "./errors.js";

let node;

function failure(error) {
  const { code, message } = asObserverError(error, "worker");
  return { code, message };
}

function tell(kind, detail, payload) {
  self.postMessage({ kind, detail, payload }, payload ? [payload.buffer] : []);
}

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.start) {
      node = await start(data.start, tell);
      self.postMessage({ started: node.about });
    } else if (data.networkChanged) {
      node?.networkChanged();
    } else if (data.inspect) {
      self.postMessage({ inspected: await inspect(...data.inspect) });
    } else if (data.stop) {
      await node?.stop();
      node = undefined;
      self.postMessage({ stopped: true });
    }
  } catch (error) {
    self.postMessage({ failed: failure(error) });
  }
});
