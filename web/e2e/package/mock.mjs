// A worker and a node for tests of the package's scripts in Node.js: the test says how the worker
// answers.

/** Options that the scripts accept. */
export const OPTIONS = { network: "base", peers: "/ip4/127.0.0.1/tcp/9/ws/p2p/x" };
export const ABOUT = {
  peerId: "p",
  network: { name: "n", chainId: 1, blockTime: 2, signer: null, signerSource: "option" },
};

/** A worker that does what `act(message, worker)` does. It starts and stops by itself by default. */
export class MockWorker extends EventTarget {
  terminated = 0;
  got = [];

  constructor(act = MockWorker.starts) {
    super();
    this.act = act;
  }

  static starts(message, worker) {
    if (message.start) worker.says({ started: ABOUT });
    if (message.stop) worker.says({ stopped: true });
  }

  postMessage(message) {
    this.got.push(structuredClone(message));
    queueMicrotask(() => this.act(message, this));
  }

  says(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  tell(kind, detail, payload) {
    this.says({ kind, detail, payload });
  }

  fails(message) {
    this.dispatchEvent(Object.assign(new Event("error"), { message }));
  }

  terminate() {
    this.terminated += 1;
  }
}

/** For what must settle: an error, if it never does. */
export function settles(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} never settles`)), 30_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Resolves to what a promise rejects with. */
export const failure = (promise) =>
  promise.then(
    () => {
      throw new Error("it does not fail");
    },
    (error) => error,
  );

/** Starts an observer on a worker of the test. Its reports arrive from the next task on. */
export async function started(observe, options = {}) {
  const worker = new MockWorker();
  const observer = await observe({ ...OPTIONS, worker, ...options });
  await new Promise((resolve) => setTimeout(resolve));
  return { worker, observer };
}

/** Returns an SSZ payload of version 4 with these transactions and bytes of extra data. */
export function payload(transactions, extra = 0) {
  const fixed = 560;
  const list = transactions.reduce((bytes, transaction) => bytes + 4 + transaction.length, 0);
  const bytes = new Uint8Array(fixed + extra + list);
  const view = new DataView(bytes.buffer);
  view.setUint32(436, fixed, true);
  view.setUint32(504, fixed + extra, true);
  view.setUint32(508, bytes.length, true);
  let at = 4 * transactions.length;
  transactions.forEach((transaction, index) => {
    view.setUint32(fixed + extra + 4 * index, at, true);
    bytes.set(transaction, fixed + extra + at);
    at += transaction.length;
  });
  return bytes;
}

const hash = (number) => `0x${number.toString(16).padStart(64, "0")}`;

/** Returns the report of a block. */
export const block = (number) => ({
  number,
  hash: hash(number),
  parentHash: hash(number - 1),
  timestamp: 1_750_000_000 + 2 * number,
  timestampMs: 1000 * (1_750_000_000 + 2 * number),
  version: 4,
  feeRecipient: `0x${"11".repeat(20)}`,
  prevRandao: hash(7),
  gasUsed: "18446744073709551615",
  gasLimit: "30000000",
  baseFeePerGas: "1",
  blobGasUsed: "0",
  excessBlobGas: null,
  transactionHashes: [hash(1)],
  withdrawals: [],
  size: 4321,
  receivedAt: 1,
});

/** Endpoints that a provider may name. */
export const RPC = ["https://rpc.example"];

/**
 * A worker whose node answers each read with the result of `answers(method, params, ticket)`, or
 * not at all for `undefined`. It has a head unless `isHeadless`.
 */
export class Reading extends MockWorker {
  reads = [];
  cancelled = [];

  constructor(answers = () => null, isHeadless = false) {
    super((message, worker) => worker.acts(message));
    this.answers = answers;
    this.isHeadless = isHeadless;
  }

  acts(message) {
    MockWorker.starts(message, this);
    if (message.start && !this.isHeadless) this.head(1);
    if (message.cancelRead !== undefined) this.cancelled.push(message.cancelRead);
    if (message.ask?.what !== "read") return;
    const [ticket, method, text] = message.ask.given;
    const params = JSON.parse(text);
    this.reads.push([method, params]);
    const value = this.answers(method, params, ticket);
    if (value === undefined) return;
    const answer = value?.error ? value : { result: value, block: null, verified: true };
    this.says({ answered: { id: message.ask.id, value: answer } });
  }

  head(number) {
    const { hash, timestamp, timestampMs, receivedAt } = block(number);
    this.tell("head", { number, hash, timestamp, timestampMs, receivedAt });
  }

  block(number, changes = {}) {
    this.tell("block", { ...FIELDS, ...block(number), ...changes }, payload([]));
  }
}

export const root = (byte) => `0x${byte.repeat(32)}`;
/** Fields of a header that the mock's blocks lack. */
export const FIELDS = {
  logsBloom: `0x${"00".repeat(256)}`,
  transactionsRoot: root("aa"),
  stateRoot: root("bb"),
  receiptsRoot: root("cc"),
  extraData: "0x",
  withdrawalsRoot: root("dd"),
  parentBeaconBlockRoot: root("ee"),
  requestsHash: null,
};

/** Waits until something holds, for as long as a slow machine needs. */
export async function until(holds) {
  await settles(
    (async () => {
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
    })(),
    String(holds),
  );
}
