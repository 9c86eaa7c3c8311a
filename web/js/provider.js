// An EIP-1193 provider over an observer. The node answers from gossip and proofs. Answers without a
// proof are refused, except those to `unverified` methods.
//
// Bounds: the node bounds the pending reads, MOST_PARAMS the parameters of each, and
// subscriptions.js the subscriptions.

import { ObserverError, words } from "./errors.js";
import { load } from "./load.js";
import { ENDED, Observer, READ } from "./observer.js";
import { isSignal } from "./options.js";
import { RpcError, fail } from "./rpc-error.js";
import { observing } from "./start.js";
import { Subscriptions } from "./subscriptions.js";

export { ObserverError } from "./errors.js";
export { RpcError } from "./rpc-error.js";

/** Key of the constructor, so that only `createProvider` creates providers. */
const MADE = Symbol("createProvider");

/** Codes of EIP-1193: disconnected from all chains, and unsupported method. */
const DISCONNECTED = 4900;
const UNSUPPORTED = 4200;
const INVALID_REQUEST = -32600;
const INVALID_PARAMS = -32602;
const INTERNAL = -32603;

/** Maximum length of a request's parameters as JSON, in UTF-16 code units. */
const MOST_PARAMS = 1 << 20;
/** Methods that need keys or the user of a wallet. */
const OF_WALLETS =
  /^(wallet_|personal_|eth_sign|eth_sendTransaction$|eth_requestAccounts$|eth_(decrypt|getEncryptionPublicKey)$)/;

const observe = /* @__PURE__ */ observing(load);

export class Provider {
  #observer;
  /** Whether this provider stops the observer. */
  #isOwner;
  #chainId;
  #isConnected = false;
  #stopped = false;
  /** Lists of `{ listener, isOnce }`, by event. */
  #listeners = new Map();
  #subscriptions;
  #unverified;
  /** Functions that remove this provider's listeners from the observer. */
  #offs;
  /** Methods that this provider answers itself, from their parameters. */
  #local = {
    eth_accounts: () => [],
    eth_subscribe: ([kind, filter]) => this.#subscriptions.subscribe(kind, filter),
    eth_unsubscribe: ([id]) => this.#subscriptions.remove(id, false),
    eth_newFilter: ([filter]) => this.#subscriptions.filter("logs", filter),
    eth_newBlockFilter: () => this.#subscriptions.filter("newHeads"),
    eth_uninstallFilter: ([id]) => this.#subscriptions.remove(id, true),
    eth_getFilterChanges: ([id]) => this.#subscriptions.changes(id),
    eth_getFilterLogs: async ([id], signal) =>
      (await this.#ask("eth_getLogs", [this.#subscriptions.logsOf(id)], signal)).result,
  };

  constructor(made, observer, isOwner, unverified) {
    if (made !== MADE) throw new TypeError("providers are created by createProvider()");
    this.#observer = observer;
    this.#isOwner = isOwner;
    this.#unverified = new Set(unverified);
    this.#chainId = `0x${observer.network.chainId.toString(16)}`;
    this.#subscriptions = new Subscriptions(observer, {
      message: (subscription, result) =>
        this.#emit("message", { type: "eth_subscription", data: { subscription, result } }),
      read: async (method, params, signal) => (await this.#ask(method, params, signal)).result,
      missed: (detail) => this.#emit("missed", Object.freeze(detail)),
    });
    const isAlone = ({ kind }) => kind === "no_peers";
    this.#offs = [
      observer[ENDED](() => this.#end()),
      observer.on("lie", (lie) => this.#emit("lie", lie)),
      observer.on("head", () => this.#connected(!observer.troubles.some(isAlone))),
      observer.on("trouble", (trouble) => isAlone(trouble) && this.#connected(false)),
      observer.on("trouble-ended", (trouble) => {
        if (isAlone(trouble)) this.#connected(observer.head !== null);
      }),
    ];
    this.#isConnected = observer.head !== null && !observer.troubles.some(isAlone);
  }

  get observer() {
    return this.#observer;
  }

  get chainId() {
    return this.#chainId;
  }

  isConnected() {
    return this.#isConnected && !this.#observer.stopped;
  }

  async request(args, options) {
    return (await this.read(args, options)).result;
  }

  async read(args, { signal } = {}) {
    const { method, params = [] } = args ?? {};
    if (typeof method !== "string" || method === "")
      fail(INVALID_REQUEST, "`method` is not a non-empty string");
    if (typeof params !== "object" || params === null)
      fail(INVALID_REQUEST, "`params` is neither a list nor an object");
    if (signal !== undefined && signal !== null && !isSignal(signal))
      fail(INVALID_REQUEST, "`signal` is not an AbortSignal");
    signal?.throwIfAborted?.();
    if (this.#isEnded) throw this.#ended();
    if (Object.hasOwn(this.#local, method)) {
      const result = await this.#local[method](Array.isArray(params) ? params : [], signal);
      return Object.freeze({ result, block: null, verified: true });
    }
    if (OF_WALLETS.test(method) && !this.#unverified.has(method)) {
      fail(
        UNSUPPORTED,
        `${method} needs a wallet, and this provider holds no keys: ` +
          "sign with a local account, and send with eth_sendRawTransaction",
      );
    }
    const answer = await this.#ask(method, params, signal);
    const { block, verified } = answer;
    this.#emit("answer", Object.freeze({ method, block, verified }));
    return answer;
  }

  /**
   * Asks the node, which may wait for its first head. Resolves to `{ result, block, verified }`.
   */
  async #ask(method, params, signal) {
    let answer;
    try {
      answer = await this.#observer[READ](method, written(params), signal);
    } catch (error) {
      if (signal?.aborted || error instanceof RpcError) throw error;
      if (this.#isEnded) throw this.#ended(error);
      throw new RpcError(INTERNAL, words(error), { cause: error });
    }
    if (answer.error) {
      const { code, message, data } = answer.error;
      throw new RpcError(code, message, { data });
    }
    return Object.freeze(answer);
  }

  get #isEnded() {
    return this.#stopped || this.#observer.stopped;
  }

  #ended(cause) {
    return new RpcError(DISCONNECTED, "the provider has ended", { cause });
  }

  on(event, listener) {
    return this.#listen(event, listener, false);
  }

  once(event, listener) {
    return this.#listen(event, listener, true);
  }

  addListener(event, listener) {
    return this.on(event, listener);
  }

  #listen(event, listener, isOnce) {
    if (typeof listener !== "function") throw new TypeError("the listener is not a function");
    const listeners = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...listeners, { listener, isOnce }]);
    return this;
  }

  removeListener(event, listener) {
    const listeners = this.#listeners.get(event) ?? [];
    // Removes only one registration, as in Node.js.
    this.#remove(event, listeners.findLast((entry) => entry.listener === listener));
    return this;
  }

  /** Removes one registration. */
  #remove(event, entry) {
    const others = this.#listeners.get(event)?.filter((other) => other !== entry);
    if (others) this.#listeners.set(event, others);
  }

  off(event, listener) {
    return this.removeListener(event, listener);
  }

  removeAllListeners(event) {
    if (event === undefined) this.#listeners.clear();
    else this.#listeners.delete(event);
    return this;
  }

  listenerCount(event) {
    return this.#listeners.get(event)?.length ?? 0;
  }

  #emit(event, detail) {
    for (const entry of this.#listeners.get(event) ?? []) {
      // The same function may also be registered for good.
      if (entry.isOnce) this.#remove(event, entry);
      try {
        entry.listener(detail);
      } catch (error) {
        // The error is reported as uncaught. The other listeners are still called.
        globalThis.queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #connected(isConnected) {
    if (this.#stopped || isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    if (isConnected) this.#emit("connect", Object.freeze({ chainId: this.#chainId }));
    else this.#emit("disconnect", new RpcError(DISCONNECTED, "no gateway is connected"));
  }

  /** Ends this provider, which was stopped or whose observer has ended. */
  #end() {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const off of this.#offs) off();
    this.#subscriptions.end();
    const wasConnected = this.#isConnected;
    this.#isConnected = false;
    if (wasConnected) this.#emit("disconnect", this.#ended());
    // viem.js listens to this.
    this.#emit(ENDED, this.#ended());
  }

  async stop() {
    this.#end();
    if (this.#isOwner) await this.#observer.stop();
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.stop();
  }
}

/** Returns parameters as JSON. */
function written(params) {
  let text;
  try {
    text = JSON.stringify(params);
  } catch (error) {
    fail(INVALID_PARAMS, `\`params\` can't be written as JSON (${words(error)})`);
  }
  return text.length <= MOST_PARAMS
    ? text
    : fail(INVALID_PARAMS, `\`params\` has more than ${MOST_PARAMS} characters`);
}

const refuse = (message) => {
  throw new ObserverError("option", message);
};

/** Starts a provider; see provider.d.ts. */
export async function createProvider(options) {
  if (typeof options !== "object" || options === null)
    refuse("createProvider() takes an object of options");
  const { observer, unverified, lag, ...others } = options;
  if (others.reads !== undefined)
    refuse("`reads` is an option of observe(): give `unverified` and `lag` themselves");
  if (observer === undefined) {
    const own = await observe({ ...others, reads: { unverified, lag } });
    return new Provider(MADE, own, true, own.reads.unverified);
  }
  const reads = { ...(unverified && { unverified }), ...(lag && { lag }) };
  const [unknown] = Object.keys({ ...others, ...reads });
  if (unknown !== undefined)
    refuse(`\`${unknown}\` is an option of the observer: give it to observe(), or leave \`observer\` out`);
  if (!(observer instanceof Observer)) refuse("`observer` is not an observer");
  if (!observer.reads) refuse("`observer` was started without `reads`");
  return new Provider(MADE, observer, false, observer.reads.unverified);
}
