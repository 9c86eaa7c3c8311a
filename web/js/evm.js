// The executor of calls: a second WebAssembly module, which is loaded at the first call. It runs on
// this thread, and an execution takes at most seconds.

import init, * as executor from "./wasm/opp2p_web_evm.js";
import { words } from "./errors.js";
import { compile } from "./module.js";

let loading;
/** What crashed the module, once it has: its memory may be in any state. */
let crash;

async function load() {
  loading ??= (async () => init({ module_or_path: await compile(undefined, "opp2p_web_evm") }))();
  try {
    await loading;
  } catch (error) {
    // A later call may try again.
    loading = undefined;
    throw error;
  }
}

/**
 * Executes a job.
 *
 * @param {string} job as JSON
 * @returns {Promise<string>} the report, as JSON
 */
export async function execute(job) {
  if (crash !== undefined) throw new Error(crash);
  await load();
  try {
    return executor.execute(job);
  } catch (error) {
    if (typeof WebAssembly === "object" && error instanceof WebAssembly.RuntimeError)
      crash = `the executor ended by a defect of its own (${words(error)}): reload the page`;
    throw new Error(crash ?? words(error), { cause: error });
  }
}
