// A wallet's reads in a real browser: blocks by gossip from native nodes, state from endpoints that
// are truthful, lie, lag or are unreachable.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import * as rpc from "./rpc.mjs";
import { Lab, STRICT, Tab, launch, serve } from "./support.mjs";

const { CONTRACT, NOBODY, SLOT } = rpc;
let lab, browser, server, gateway, honest, other, newest;

before(async () => {
  const policy = `${STRICT} http://127.0.0.1:*`;
  [lab, browser, server, honest] = await Promise.all([
    Lab.start(),
    launch(),
    serve({ policy }),
    rpc.Endpoint.start(),
  ]);
  gateway = await lab.gateway("first");
  await lab.ask({ do: "roots", state: rpc.ROOT, receipts: rpc.ROOT });
  [newest] = await lab.publish(1, 1);
});

beforeEach(async () => {
  await other?.stop();
  other = await rpc.Endpoint.start();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await honest?.stop();
  await other?.stop();
  await lab?.stop();
});

/** Opens a tab with a provider over these endpoints, and waits for its head. */
async function opened(endpoints, options = {}) {
  const tab = await Tab.open(browser, server.url);
  const { rollup, signer } = lab.chain;
  await tab.page.evaluate(
    async (given) => {
      const { createProvider } = await import("/provider.js");
      const provider = await createProvider(given);
      const heard = { lie: [], answer: [], message: [], missed: [] };
      for (const name of Object.keys(heard)) provider.on(name, (detail) => heard[name].push(detail));
      window.read = async (method, params) => {
        try {
          return await provider.read({ method, params });
        } catch ({ name, code, message, data }) {
          return { failed: { name, code, message, ...(data === undefined ? {} : { data }) } };
        }
      };
      // For `Tab`.
      Object.assign(window, { provider, heard, observer: provider.observer, record: {} });
    },
    { network: rollup, signer, peers: gateway.address, rpc: endpoints.map(({ url }) => url), ...options },
  );
  await tab.connected();
  newest = (await lab.publish(2, 50)).at(-1);
  await tab.until((number) => observer.head?.number >= number, newest.number);
  return tab;
}

const read = (tab, method, ...params) =>
  tab.page.evaluate(([method, params]) => read(method, params), [method, params]);

test("every part of the state is proved by the newest block from gossip", async () => {
  const tab = await opened([honest], { unverified: ["eth_gasPrice"] });
  const block = { number: newest.number, hash: newest.hash };
  for (const [method, params, result] of [
    ["eth_getBalance", [CONTRACT, "latest"], `0x${rpc.BALANCE.toString(16)}`],
    ["eth_getBalance", [NOBODY, "latest"], "0x0"],
    ["eth_getTransactionCount", [CONTRACT, { blockHash: newest.hash }], "0x7"],
    ["eth_getCode", [CONTRACT, "latest"], rpc.CODE],
    ["eth_getCode", [NOBODY], "0x"],
    ["eth_getStorageAt", [CONTRACT, SLOT, `0x${newest.number.toString(16)}`], `0x${"2a".padStart(64, "0")}`],
    ["eth_getStorageAt", [CONTRACT, "0x6", "latest"], `0x${"0".repeat(64)}`],
  ])
    assert.deepEqual(await read(tab, method, ...params), { result, block, verified: true }, method);
  assert.equal((await read(tab, "eth_chainId")).result, `0x${lab.chain.chainId.toString(16)}`);
  assert.equal(Number((await read(tab, "eth_blockNumber")).result), newest.number);
  const asked = honest.asked.length;
  const { result: shown } = await read(tab, "eth_getBlockByNumber", "latest", true);
  assert.equal(shown.hash, newest.hash);
  const logs = await read(tab, "eth_getLogs", { address: CONTRACT, blockHash: newest.hash });
  assert.deepEqual(logs.result, []);
  assert.equal(honest.asked.length, asked, "blocks come from gossip, and an empty bloom needs no receipts");
  // Only a deposit's receipt has its nonce. The endpoint has none, so it is shown as in gossip.
  const { result: transaction } = await read(tab, "eth_getTransactionByHash", shown.transactions[0].hash);
  assert.deepEqual(transaction, shown.transactions[0]);
  assert.deepEqual(await read(tab, "eth_gasPrice"), { result: "0x77", block: null, verified: false });
  for (const [method, code] of [["eth_feeHistory", -32004], ["eth_sign", 4200]])
    assert.equal((await read(tab, method)).failed.code, code);
  assert.equal((await read(tab, "eth_getBalance", "0x1")).failed.code, -32602);
  assert.equal((await read(tab, "eth_getBalance", CONTRACT, "finalized")).failed.code, -32001);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

/** Lets a page import viem, and the package's transport for it. */
async function withViem(page) {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { createPublicClient, createTransport } from "viem";`,
      resolveDir: fileURLToPath(new URL("..", import.meta.url)),
    },
    bundle: true,
    format: "esm",
    write: false,
  });
  const contentType = "text/javascript";
  await page.route("**/vendor/viem.js", (route) => route.fulfill({ contentType, body: outputFiles[0].text }));
  await page.route("**/viem.js", async (route) => {
    if (route.request().url().endsWith("/vendor/viem.js")) return route.fallback();
    const body = (await (await route.fetch()).text()).replace(`from "viem"`, `from "/vendor/viem.js"`);
    return route.fulfill({ contentType, body });
  });
}

const word = (number) => `0x${number.toString(16).padStart(64, "0")}`;
const EXECUTOR = "/wasm/opp2p_web_evm_bg.wasm";
const fetched = () => server.asked.filter((path) => path === EXECUTOR).length;

test("a call is executed in the page over proved state, by a module that is fetched once", async () => {
  const tab = await opened([honest]);
  await withViem(tab.page);
  const block = { number: newest.number, hash: newest.hash };
  const others = fetched();
  await read(tab, "eth_getStorageAt", CONTRACT, SLOT, "latest");
  assert.equal(fetched(), others, "the module is not fetched before the first call");
  const call = { to: CONTRACT, data: word(2) };
  const sum = { result: word(0x2a + 2), block, verified: true };
  const both = [read(tab, "eth_call", call, "latest"), read(tab, "eth_call", call, { blockHash: newest.hash })];
  assert.deepEqual(await Promise.all(both), [sum, sum]);
  const viem = await tab.page.evaluate(async (call) => {
    const { opp2p } = await import("/viem.js");
    const { createPublicClient } = await import("/vendor/viem.js");
    const client = createPublicClient({ transport: opp2p(provider) });
    const { data } = await client.call(call);
    const failed = await client.call({ to: call.to }).catch((error) => error);
    return { data, output: failed.walk((cause) => cause?.name === "ProviderRpcError")?.data, said: failed.message };
  }, call);
  assert.equal(viem.data, word(0x2a + 2));
  assert.equal(viem.output, word(42));
  assert.match(viem.said, /revert/);
  const { result: gas } = await read(tab, "eth_estimateGas", call);
  assert.ok(Number(gas) > 23_000 && Number(gas) < 25_000, gas);
  const { result: touched } = await read(tab, "eth_createAccessList", call);
  assert.deepEqual(touched.accessList, [{ address: CONTRACT, storageKeys: [SLOT] }]);
  const { failed } = await read(tab, "eth_call", { to: CONTRACT }, "latest");
  assert.deepEqual([failed.code, failed.message, failed.data], [3, "execution reverted", word(42)]);
  assert.equal((await read(tab, "eth_call", call, "latest", { [CONTRACT]: {} })).failed.code, -32602);
  assert.equal(fetched(), others + 1, "the module is fetched once");
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("a lie about a slot leads to no answer of a call", async () => {
  other.lie = (method, result) => {
    if (method === "eth_getProof" && result.storageProof[0]) result.storageProof[0].value = "0x2b";
    return result;
  };
  const tab = await opened([other]);
  const { failed } = await read(tab, "eth_call", { to: CONTRACT, data: word(2) }, "latest");
  assert.equal(failed?.code, -32603);
  await tab.until(() => heard.lie.length > 0);
  const [lie] = await tab.page.evaluate(() => heard.lie);
  assert.deepEqual([lie.endpoint, lie.method], [other.host, "eth_getProof"]);
  await tab.close();
});

test("each lie is named and never reaches the page, which reads on from an honest endpoint", async () => {
  const field = (name, value) => (method, result) =>
    method === "eth_getProof" ? { ...result, [name]: value } : result;
  const lies = [
    ["eth_getBalance", [CONTRACT], "eth_getProof", "balance", field("balance", "0x1")],
    ["eth_getBalance", [NOBODY], "eth_getProof", "balance", field("balance", "0x1")],
    ["eth_getTransactionCount", [CONTRACT], "eth_getProof", "nonce", field("nonce", "0x8")],
    ["eth_getCode", [CONTRACT], "eth_getCode", "code", (method, result) => (method === "eth_getCode" ? `${result}00` : result)],
    ["eth_getStorageAt", [CONTRACT, SLOT, "latest"], "eth_getProof", "slot", (method, result) => ((result.storageProof[0].value = "0x2b"), result)],
    ["eth_getBalance", [CONTRACT], "eth_getProof", "proof", (method, result) => ((result.accountProof[0] = `${result.accountProof[0].slice(0, -2)}00`), result)],
  ];
  const true_ = await opened([honest]);
  for (const [method, params, told, part, lie] of lies) {
    other.lie = lie;
    const alone = await opened([other]);
    const refused = await read(alone, method, ...params);
    assert.ok(refused.failed, `${method} is refused: ${JSON.stringify(refused)}`);
    assert.equal(refused.failed.code, -32603);
    assert.ok(!refused.failed.message.includes("secret-key"));
    await alone.close();
    const both = await opened([other, honest]);
    // The lie arrives first. Otherwise the true answer would end the race.
    honest.delay = 300;
    const { result, verified } = await read(both, method, ...params);
    honest.delay = 0;
    assert.deepEqual([result, verified], [(await read(true_, method, ...params)).result, true], method);
    await both.until(() => heard.lie.length > 0);
    const [named, ...more] = await both.page.evaluate(() => heard.lie);
    assert.deepEqual([named.endpoint, named.method, more], [other.host, told, []]);
    assert.match(named.part, new RegExp(part, "i"));
    const asked = other.asked.length;
    await read(both, "eth_getBalance", NOBODY, "latest");
    assert.equal(other.asked.length, asked, "a liar is not asked again");
    await both.close();
  }
  await true_.close();
});

test("reads go on while all endpoints but one are gone or silent", async () => {
  const gone = await rpc.Endpoint.start();
  await gone.stop();
  other.isSilent = true;
  const tab = await opened([gone, other, honest]);
  const { result } = await read(tab, "eth_getBalance", CONTRACT, "latest");
  assert.equal(BigInt(result), rpc.BALANCE);
  await tab.close();
});

test("a read waits for an endpoint that lags, or shows the newest provable block, as the page says", async () => {
  other.isLagging = true;
  const patient = await opened([other], { lag: { wait: 20 } });
  const waiting = read(patient, "eth_getBalance", CONTRACT, "latest");
  await patient.page.waitForTimeout(1500);
  other.isLagging = false;
  const { result, block } = await waiting;
  assert.deepEqual([BigInt(result), block.number], [rpc.BALANCE, newest.number]);
  await patient.close();
  other.isLagging = true;
  const brief = await opened([other], { lag: { wait: 0.5 } });
  assert.equal((await read(brief, "eth_getBalance", CONTRACT, "latest")).failed.code, -32002);
  await brief.close();
});

test("new heads arrive as messages while reads go on", async () => {
  const tab = await opened([honest]);
  const { result: subscription } = await read(tab, "eth_subscribe", "newHeads");
  await read(tab, "eth_subscribe", "logs", { address: CONTRACT });
  const published = await lab.publish(5, 100);
  await tab.until((count) => heard.message.length >= count, published.length);
  const { message, missed } = await tab.page.evaluate(() => heard);
  assert.deepEqual(
    message.map(({ data }) => [data.subscription, data.result.hash]),
    published.map(({ hash }) => [subscription, hash]),
  );
  assert.deepEqual(missed, []);
  assert.deepEqual(tab.noise, []);
  await tab.close();
});

test("a page that is opened again has its head at once, without a gateway, and goes on from it", async () => {
  const context = await browser.newContext();
  const { rollup, signer } = lab.chain;
  const options = { network: rollup, signer, keep: true };
  const first = await Tab.open(context, server.url);
  await first.observe({ ...options, peers: gateway.address });
  await first.connected();
  const before = (await lab.publish(1, 1)).at(-1);
  await first.reached(before.number);
  const network = typeof rollup === "string" ? rollup : JSON.stringify(rollup);
  const held = () =>
    first.page.evaluate(async (options) => {
      const { open } = await import("/kept.js");
      return (await open(options)).head?.length ?? 0;
    }, { network, signer });
  for (let round = 0; round < 100 && (await held()) === 0; round++) await first.page.waitForTimeout(50);
  await first.close();
  const second = await Tab.open(context, server.url);
  await second.observe({ ...options, peers: gateway.address.replace(/tcp\/\d+/, "tcp/9") });
  const head = await second.page.evaluate(() => observer.ready);
  assert.deepEqual([head.number, head.hash], [before.number, before.hash]);
  await second.close();
  const between = await lab.publish(3, 50);
  const third = await Tab.open(context, server.url);
  await third.observe({ ...options, peers: gateway.address });
  await third.connected();
  const after = await lab.publish(2, 50);
  await third.reached(after.at(-1).number);
  const shown = (await third.record("block")).map(({ number, hash }) => [number, hash]);
  assert.deepEqual(shown, [...between, ...after].map(({ number, hash }) => [number, hash]), "what was missed is fetched");
  await third.close();
  await context.close();
});
