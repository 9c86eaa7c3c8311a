// node web/build/example.js DIST: checks that the bundled example is complete, and that it starts
// in Chromium under a strict policy.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { open, withChromium } from "./chromium.js";
import { list } from "./files.js";
import { serve } from "./serve.js";

const [dist] = process.argv.slice(2);

const files = list(dist);
assert.ok(files.some((name) => /opp2p_web_bg.*\.wasm$/.test(name)), `no module in ${files}`);
assert.ok(files.some((name) => /worker.*\.js$/.test(name)), `no worker in ${files}`);

// A gateway that accepts the connection and sends nothing: enough for the node to run and to dial.
const silent = createServer(() => {});
const dialled = new Promise((resolve) => silent.once("connection", resolve));
await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
silent.unref();
const id = "16Uiu2HAmQEb7GtB9aRmZ9ARMP9pPKzCqXjyELiWLMFcx6ysn38bs";
const query = new URLSearchParams({
  network: "op-mainnet",
  rpc: "http://127.0.0.1:9",
  peers: `/ip4/127.0.0.1/tcp/${silent.address().port}/ws/p2p/${id}`,
});

await withChromium(async (browser) => {
  const { page, complaints } = await open(browser, `${await serve(dist)}?${query}`);
  await page.getByRole("status").filter({ hasText: "OP Mainnet: waiting for a block" }).waitFor();
  assert.equal(page.workers().length, 1, "the node runs in a worker");
  await dialled;
  assert.deepEqual(complaints, []);
});
console.log(`${dist}: starts and dials, in a worker, without a complaint of the console`);
process.exit();
