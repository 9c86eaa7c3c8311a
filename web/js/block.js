// A block as the page sees it. Its transactions are cut out of the payload when they are asked for.

/** Where the payload's SSZ has the offset of its transactions: after ten fixed fields and that of the extra data. */
const TRANSACTIONS_OFFSET = 504;
/** Where it has the offset of the withdrawals, which follow the transactions; from version 2 on. */
const WITHDRAWALS_OFFSET = 508;

export class Block {
  constructor(detail, payload) {
    Object.assign(this, detail);
    this.gasUsed = BigInt(detail.gasUsed);
    this.gasLimit = BigInt(detail.gasLimit);
    this.baseFeePerGas = BigInt(detail.baseFeePerGas);
    this.payload = payload;
    this.size = payload.length;
    Object.freeze(this);
  }

  get transactions() {
    const { payload } = this;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const start = view.getUint32(TRANSACTIONS_OFFSET, true);
    // In version 1 they reach to the end.
    const end = this.version === 1 ? payload.length : view.getUint32(WITHDRAWALS_OFFSET, true);
    if (start === end) return [];
    const count = view.getUint32(start, true) / 4;
    const offset = (index) => (index < count ? start + view.getUint32(start + 4 * index, true) : end);
    return Array.from({ length: count }, (_, index) => payload.subarray(offset(index), offset(index + 1)));
  }
}
