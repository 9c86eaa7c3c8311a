// Measures the cost of a validation: by the module, and by hand in JavaScript. The messages are the
// same for both.

import { validate } from "./hand.js";
import init, { benchMessage, benchSigner, benchValidate } from "./wasm/opp2p_web.js";

const SIZES = 3;
const CHAIN_ID = 10n;
/** Number of batches of each size, and the intended milliseconds of one batch. */
const BATCHES = 20;
const BATCH_MS = 50;

/** Returns the µs per run in the fastest batch, which was disturbed least. */
function fastest(act) {
  const batch = (times) => {
    const started = performance.now();
    act(times);
    return (performance.now() - started) / times;
  };
  // JavaScript compilers take time to find hot code.
  const warm = performance.now();
  while (performance.now() - warm < 500) batch(1);
  const times = Math.max(1, Math.ceil(BATCH_MS / batch(3)));
  return Math.min(...Array.from({ length: BATCHES }, () => batch(times))) * 1000;
}

/** Measures both; `bytes` is the size of the module. */
export async function measure(bytes) {
  await init({ module_or_path: bytes });
  const [wasm, hand] = [[], []];
  for (let size = 0; size < SIZES; size++) {
    const message = benchMessage(size);
    wasm.push(fastest((times) => benchValidate(message, times)));
    const rules = { chainId: CHAIN_ID, signer: benchSigner() };
    hand.push(
      fastest((times) => {
        for (let i = 0; i < times; i++) validate(message, rules);
      }),
    );
  }
  return { wasm, hand };
}
