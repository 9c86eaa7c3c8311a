// A block for the page. Blocks are shared by all listeners and iterators, so nothing in them can be
// changed: their bytes are copied at each access.

/**
 * Position in the SSZ payload of the offset of the transactions: after ten fixed fields and the
 * offset of the extra data.
 */
const TRANSACTIONS_OFFSET = 504;
/** Position of the offset of the withdrawals, which follow the transactions; from version 2 on. */
const WITHDRAWALS_OFFSET = 508;

/** Fields that a JavaScript number can't hold. The node reports them as decimal text. */
const BIGINTS = ["gasUsed", "gasLimit", "baseFeePerGas", "blobGasUsed", "excessBlobGas"];

/** Keccak-256 of the RLP of an empty list. */
const NO_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(bytes) {
  let text = "0x";
  for (const byte of bytes) text += BYTES[byte];
  return text;
}

/** Returns copies of the transactions of a payload. */
function cut(payload, version) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const start = view.getUint32(TRANSACTIONS_OFFSET, true);
  // In version 1 they reach to the end.
  const end = version === 1 ? payload.length : view.getUint32(WITHDRAWALS_OFFSET, true);
  if (start === end) return [];
  const count = view.getUint32(start, true) / 4;
  const offset = (index) => (index < count ? start + view.getUint32(start + 4 * index, true) : end);
  return Array.from({ length: count }, (_, index) =>
    payload.slice(offset(index), offset(index + 1)),
  );
}

export class Block {
  constructor(detail, payload) {
    Object.assign(this, detail);
    for (const name of BIGINTS)
      if (typeof detail[name] === "string") this[name] = BigInt(detail[name]);
    this.payloadSize = payload.length;
    // Own and enumerable, so that structuredClone() and spreading keep them.
    Object.defineProperties(this, {
      transactions: { enumerable: true, get: () => cut(payload, detail.version) },
      payload: { enumerable: true, get: () => payload.slice() },
    });
    Object.freeze(this);
  }

  // The names of JSON-RPC for the same fields, and its constants.

  get miner() {
    return this.feeRecipient;
  }

  get mixHash() {
    return this.prevRandao;
  }

  get difficulty() {
    return 0n;
  }

  get nonce() {
    return "0x0000000000000000";
  }

  get sha3Uncles() {
    return NO_UNCLES;
  }

  toJSON() {
    const json = {};
    for (const name of Object.keys(this)) {
      if (name === "payload") continue;
      const value = this[name];
      json[name] =
        name === "transactions"
          ? value.map(hex)
          : typeof value === "bigint"
            ? String(value)
            : value;
    }
    return json;
  }
}
