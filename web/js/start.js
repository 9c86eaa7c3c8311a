// The parts that all entries of the package share: starting an observer, and judging a message.

import { ObserverError, asObserverError } from "./errors.js";
import { inTime, startInWorker } from "./host.js";
import { MADE, Observer } from "./observer.js";
import { read, readMessage } from "./options.js";

/** The longest time that a timer can wait, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;

const reasonOf = (signal) =>
  signal.reason ?? new DOMException("This operation was aborted", "AbortError");

/**
 * Waits for the node, but no longer than for the abort of `signal` or the end of `seconds`. A node
 * that starts later all the same is stopped.
 */
function inTimeOrAborted(starting, { signal, startSeconds }, cancel) {
  return new Promise((resolve, reject) => {
    let timer;
    const settle = (act, value) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      act(value);
    };
    const giveUp = (reason) => {
      settle(reject, reason);
      cancel.abort(reason);
      starting.then((node) => node.stop()).catch(() => {});
    };
    const aborted = () => giveUp(reasonOf(signal));
    if (startSeconds * 1000 <= LONGEST_MS) {
      const late = () =>
        giveUp(
          new ObserverError(
            "timeout",
            `the node did not start within ${startSeconds} s: ` +
              "its worker or its WebAssembly module did not arrive or does not answer",
          ),
        );
      timer = setTimeout(late, startSeconds * 1000);
    }
    starting.then(
      (node) => settle(resolve, node),
      (error) => settle(reject, error),
    );
    try {
      signal?.addEventListener("abort", aborted, { once: true });
    } catch (error) {
      giveUp(error);
    }
  });
}

/**
 * Makes `observe`.
 *
 * @param load resolves to engine.js
 * @param entry `{ isHere, wasm }`: whether the node can only run on this thread, and from where it
 *   takes the module if the page does not say
 */
export function observing(load, { isHere = false, wasm } = {}) {
  return async (options) => {
    const asked = read(options, isHere);
    const { signal, worker, readSigner, reads } = asked;
    if (signal?.aborted) throw reasonOf(signal);
    // Where there are no workers, such as in another worker of some browsers, the node runs here.
    const inWorker = !isHere && (worker ?? typeof globalThis.Worker === "function") !== false;
    // Reports that arrive before the observer exists wait for it.
    let hear;
    const early = [];
    const tell = (...told) => (hear ? hear(told) : early.push(told));
    const cancel = new AbortController();
    const begin = async () => {
      if (inWorker) return startInWorker(asked.start, tell, worker, asked.wasm, cancel.signal);
      const engine = await load();
      const node = await engine.start(
        { ...asked.start, wasm: asked.wasm ?? wasm },
        tell,
        cancel.signal,
      );
      return { ...node, stop: () => inTime(node.stop()) };
    };
    const starting = begin().catch((error) => {
      throw cancel.signal.aborted ? error : asObserverError(error, inWorker ? "worker" : "option");
    });
    const node = await inTimeOrAborted(starting, asked, cancel);
    let observer;
    try {
      if (signal?.aborted) throw reasonOf(signal);
      observer = new Observer(MADE, node, signal, readSigner, reads);
    } catch (error) {
      await node.stop();
      throw error;
    }
    // A listener added in the same task in which `await observe()` returns receives every report.
    setTimeout(() => {
      hear = (told) => observer.told(MADE, ...told);
      early.splice(0).forEach(hear);
    });
    return observer;
  };
}

/** Makes `inspect`; see `observing`. */
export function inspecting(load, { wasm } = {}) {
  return async (...given) => {
    const [network, topic, message, seconds, signer, own] = readMessage(...given);
    const engine = await load();
    return engine.inspect(network, topic, message, seconds, signer, own ?? wasm);
  };
}
