// What a validation costs here: by the module, and by hand in JavaScript. The same messages for both.

import { validate } from "./hand.js";
import init, { benchMessage, benchSigner, benchValidate } from "./wasm/opp2p_web.js";

const SIZES = 3;
const CHAIN_ID = 10n;
/** Batches of each size, and milliseconds that one is to take. */
const BATCHES = 20;
const BATCH_MS = 50;

/** µs of one, in the fastest batch: the one that was disturbed least. */
function fastest(act) {
  const batch = (times) => {
    const started = performance.now();
    act(times);
    return (performance.now() - started) / times;
  };
  // Compilers of JavaScript engines take their time to see what is hot.
  const warm = performance.now();
  while (performance.now() - warm < 500) batch(1);
  const times = Math.max(1, Math.ceil(BATCH_MS / batch(3)));
  return Math.min(...Array.from({ length: BATCHES }, () => batch(times))) * 1000;
}

/** Measures both; `bytes` are those of the module. */
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
