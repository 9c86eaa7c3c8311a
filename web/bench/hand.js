// Validates a v4 message as a web developer would write it, with the usual libraries: noble's
// curves and hashes, and snappyjs. It is only the yardstick for the module: the measurement is its
// only test.

import { secp256k1 } from "./lib/curves/secp256k1.js";
import { sha256 } from "./lib/hashes/sha2.js";
import { keccak_256 as keccak } from "./lib/hashes/sha3.js";
import { SnappyDecompressor } from "./lib/snappy.js";

const EMPTY_OMMERS = fromHex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
const EMPTY_REQUESTS = fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
const EMPTY = new Uint8Array(0);

/**
 * Decompresses a message, computes its id and validates it. Throws if it is invalid. Returns the
 * message's id.
 */
export function validate(data, { chainId, signer }) {
  const contents = decompress(data);
  const id = messageId(`/optimism/${chainId}/3/blocks`, contents);

  const [signature, body] = [contents.subarray(0, 65), contents.subarray(65)];
  const word = new Uint8Array(32);
  new DataView(word.buffer).setBigUint64(24, chainId);
  const hash = keccak(concat([new Uint8Array(32), word, keccak(body)]));
  const parsed = secp256k1.Signature.fromBytes(signature.subarray(0, 64), "compact").addRecoveryBit(signature[64]);
  const address = keccak(parsed.recoverPublicKey(hash).toBytes(false).subarray(1)).subarray(12);
  if (toHex(address) !== signer.slice(2).toLowerCase()) throw new Error("signed by another key");

  const [beaconRoot, payload] = [body.subarray(0, 32), decode(body.subarray(32))];
  if (toHex(headerHash(payload, beaconRoot)) !== toHex(payload.blockHash)) throw new Error("the block hash is wrong");
  if (payload.withdrawals !== 0 || payload.excessBlobGas !== 0n) throw new Error("a field is wrong");
  return id;
}

function decompress(data) {
  const decompressor = new SnappyDecompressor(data);
  const length = decompressor.readUncompressedLength();
  if (length < 66 || length > 10 * 1024 * 1024) throw new Error("the length is wrong");
  const out = new Uint8Array(length);
  if (!decompressor.uncompressToBuffer(out)) throw new Error("it does not decompress");
  return out;
}

function messageId(topic, contents) {
  const name = new TextEncoder().encode(topic);
  const length = new Uint8Array(8);
  length[0] = name.length;
  return sha256(concat([Uint8Array.of(1, 0, 0, 0), length, name, contents])).subarray(0, 20);
}

/** The SSZ payload of version 4: 560 bytes, extra data, transactions, no withdrawals. */
function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at) => view.getUint32(at, true);
  const u64 = (at) => view.getBigUint64(at, true);
  const [extra, transactions, withdrawals] = [u32(436), u32(504), u32(508)];
  if (extra !== 560 || transactions < extra || withdrawals < transactions || withdrawals > bytes.length) {
    throw new Error("an offset is wrong");
  }
  return {
    parentHash: bytes.subarray(0, 32),
    feeRecipient: bytes.subarray(32, 52),
    stateRoot: bytes.subarray(52, 84),
    receiptsRoot: bytes.subarray(84, 116),
    logsBloom: bytes.subarray(116, 372),
    prevRandao: bytes.subarray(372, 404),
    blockNumber: u64(404),
    gasLimit: u64(412),
    gasUsed: u64(420),
    timestamp: u64(428),
    extraData: bytes.subarray(extra, transactions),
    baseFee: bytes.slice(440, 472).reverse(),
    blockHash: bytes.subarray(472, 504),
    blobGasUsed: u64(512),
    excessBlobGas: u64(520),
    withdrawalsRoot: bytes.subarray(528, 560),
    transactions: split(bytes.subarray(transactions, withdrawals)),
    withdrawals: bytes.length - withdrawals,
  };
}

function split(bytes) {
  if (bytes.length === 0) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getUint32(0, true) / 4;
  return Array.from({ length: count }, (_, index) => {
    const end = index + 1 < count ? view.getUint32(4 * index + 4, true) : bytes.length;
    return bytes.subarray(view.getUint32(4 * index, true), end);
  });
}

function headerHash(payload, beaconRoot) {
  const fields = [
    payload.parentHash,
    EMPTY_OMMERS,
    payload.feeRecipient,
    payload.stateRoot,
    orderedRoot(payload.transactions),
    payload.receiptsRoot,
    payload.logsBloom,
    EMPTY,
    number(payload.blockNumber),
    number(payload.gasLimit),
    number(payload.gasUsed),
    number(payload.timestamp),
    payload.extraData,
    payload.prevRandao,
    new Uint8Array(8),
    trim(payload.baseFee),
    payload.withdrawalsRoot,
    number(payload.blobGasUsed),
    number(payload.excessBlobGas),
    beaconRoot,
    EMPTY_REQUESTS,
  ];
  return keccak(list(fields.map(string)));
}

/** Returns the root of the trie that holds each value under its index. */
function orderedRoot(values) {
  const items = values.map((value, index) => ({ key: nibbles(string(number(BigInt(index)))), value }));
  items.sort((a, b) => {
    for (let i = 0; ; i++) if (a.key[i] !== b.key[i]) return a.key[i] - b.key[i];
  });
  return keccak(items.length === 0 ? Uint8Array.of(0x80) : node(items, 0));
}

/**
 * Returns the node over these items, which are sorted and share the first `depth` nibbles of their
 * keys.
 */
function node(items, depth) {
  const [first, last] = [items[0].key, items[items.length - 1].key];
  if (items.length === 1) return list([string(path(first.slice(depth), true)), string(items[0].value)]);
  let shared = depth;
  while (first[shared] === last[shared]) shared++;
  if (shared > depth) return list([string(path(first.slice(depth, shared), false)), reference(node(items, shared))]);
  const children = [];
  for (let nibble = 0, start = 0; nibble < 16; nibble++) {
    let end = start;
    while (end < items.length && items[end].key[depth] === nibble) end++;
    children.push(end > start ? reference(node(items.slice(start, end), depth + 1)) : string(EMPTY));
    start = end;
  }
  return list([...children, string(EMPTY)]);
}

const reference = (encoded) => (encoded.length < 32 ? encoded : string(keccak(encoded)));

function path(key, isLeaf) {
  const flag = isLeaf ? 2 : 0;
  const padded = key.length % 2 ? [flag + 1, ...key] : [flag, 0, ...key];
  return Uint8Array.from({ length: padded.length / 2 }, (_, i) => padded[2 * i] * 16 + padded[2 * i + 1]);
}

const nibbles = (bytes) => Array.from(bytes).flatMap((byte) => [byte >> 4, byte & 15]);

function string(bytes) {
  return bytes.length === 1 && bytes[0] < 0x80 ? bytes : concat([head(0x80, bytes.length), bytes]);
}

function list(items) {
  return concat([head(0xc0, items.reduce((all, item) => all + item.length, 0)), ...items]);
}

function head(offset, length) {
  if (length < 56) return Uint8Array.of(offset + length);
  const bytes = number(BigInt(length));
  return concat([Uint8Array.of(offset + 55 + bytes.length), bytes]);
}

function number(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return trim(bytes);
}

function trim(bytes) {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  return bytes.subarray(zeros);
}

function concat(parts) {
  const out = new Uint8Array(parts.reduce((all, part) => all + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(text) {
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}
