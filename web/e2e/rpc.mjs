// A JSON-RPC endpoint for the tests of reads, with a state of one contract. Its answers are true
// and have proofs, unless a test makes it lie, lag or fail. It listens on a free loopback port.

import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";
import { concat, keccak256, numberToHex, pad, toRlp, trim } from "viem";

/** The contract, and an address without an account. */
export const CONTRACT = "0x00000000000000000000000000000000000c0de5";
export const NOBODY = "0x000000000000000000000000000000000000dead";
export const BALANCE = 123_456_789_000_000_000n;
export const NONCE = 7;
/** Returns the sum of slot 5 and the input's first word. Without input it reverts with the word 42. */
export const CODE = "0x36600e57602a60005260206000fd5b6005546000350160005260206000f3";
export const SLOT = pad("0x05", { size: 32 });
export const VALUE = "0x2a";

/** Returns the only node of a trie with one leaf. */
const leaf = (key, value) => toRlp([concat(["0x20", keccak256(key)]), value]);

const STORAGE = leaf(SLOT, toRlp(VALUE));
const ACCOUNT = leaf(
  CONTRACT,
  toRlp([numberToHex(NONCE), numberToHex(BALANCE), keccak256(STORAGE), keccak256(CODE)]),
);
/** The state root. */
export const ROOT = keccak256(ACCOUNT);
const EMPTY_TRIE = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
const NO_CODE = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";

/** Returns the true answer of `eth_getProof`. The single leaf also proves other keys absent. */
function proof(address, slots) {
  const exists = address.toLowerCase() === CONTRACT;
  return {
    address,
    accountProof: [ACCOUNT],
    balance: exists ? numberToHex(BALANCE) : "0x0",
    codeHash: exists ? keccak256(CODE) : NO_CODE,
    nonce: exists ? numberToHex(NONCE) : "0x0",
    storageHash: exists ? keccak256(STORAGE) : EMPTY_TRIE,
    storageProof: slots.map((key) => ({
      key,
      value: exists && pad(trim(key), { size: 32 }) === SLOT ? VALUE : "0x0",
      proof: exists ? [STORAGE] : [],
    })),
  };
}

const TRUTH = {
  eth_getProof: ([address, slots]) => proof(address, slots),
  eth_getCode: ([address]) => (address.toLowerCase() === CONTRACT ? CODE : "0x"),
  eth_gasPrice: () => "0x77",
};

export class Endpoint {
  /** Requests so far: `[method, params]`. */
  asked = [];
  /** Changes an answer: `(method, result) => result`. */
  lie = (method, result) => result;
  /** While set, the endpoint lacks the state of the newest block. */
  isLagging = false;
  /** While set, the endpoint does not answer. */
  isSilent = false;
  /** Milliseconds by which each answer is late. */
  delay = 0;

  static async start() {
    const endpoint = new Endpoint();
    endpoint.server = createServer((request, response) => endpoint.#serve(request, response));
    await once(endpoint.server.listen(0, "127.0.0.1"), "listening");
    endpoint.url = `http://127.0.0.1:${endpoint.server.address().port}/v1/secret-key`;
    endpoint.host = `127.0.0.1:${endpoint.server.address().port}`;
    return endpoint;
  }

  async #serve(request, response) {
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "content-type");
    response.setHeader("cross-origin-resource-policy", "cross-origin");
    if (request.method === "OPTIONS") return response.end();
    let body = "";
    for await (const chunk of request) body += chunk;
    const { id, method, params } = JSON.parse(body);
    this.asked.push([method, params]);
    if (this.isSilent) return;
    if (this.delay > 0) await setTimeout(this.delay);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ jsonrpc: "2.0", id, ...this.#answer(method, params) }));
  }

  #answer(method, params) {
    if (method === "eth_blockNumber") return { result: this.isLagging ? "0x1" : "0xffffff" };
    if (this.isLagging) return { error: { code: -32000, message: "header not found" } };
    const answer = TRUTH[method]?.(params);
    if (answer === undefined) return { error: { code: -32601, message: `no ${method} here` } };
    return { result: this.lie(method, structuredClone(answer)) };
  }

  stop() {
    return new Promise((resolve) => (this.server.close(resolve), this.server.closeAllConnections()));
  }
}
