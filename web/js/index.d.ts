/**
 * opp2p: an OP Stack chain's live unsafe head, verified in this page.
 *
 * ```ts
 * import { observe } from "opp2p";
 *
 * const observer = await observe({ network: "op-mainnet", peers: "/dns4/gateway.example/tcp/443/wss/p2p/16Uiu2…" });
 * for await (const block of observer.blocks) console.log(block.number, block.hash);
 * ```
 *
 * There are three entries with one interface:
 *
 * * `opp2p`: the node runs in a worker, or on this thread where there are no workers.
 * * `opp2p/static`: the node runs on this thread, and nothing is loaded by a script but the
 *   WebAssembly module. For service workers, such as the background of a browser extension.
 * * `opp2p/inline`: the same, with the module in a script. For bundlers that copy no files.
 *
 * @module
 */

/// <reference lib="esnext.disposable" />

import type {
  Block,
  BlockId,
  Counters,
  EquivocationEvent,
  GapEvent,
  Head,
  Hex,
  LieEvent,
  Network,
  Peer,
  PeerStateEvent,
  RejectedEvent,
  ReorgEvent,
  SignerEvent,
  Trouble,
} from "./data.js";

export type * from "./data.js";

/** The type of a global where it is declared, and `Fallback` elsewhere. */
type Instance<Name extends string, Fallback> = typeof globalThis extends {
  [name in Name]: { prototype: infer T };
}
  ? T
  : Fallback;

/** An `AbortSignal` of any kind. */
interface Signal {
  readonly aborted: boolean;
  readonly reason?: any;
  addEventListener(type: "abort", listener: (event: any) => void, options?: any): void;
  removeEventListener(type: "abort", listener: (event: any) => void, options?: any): void;
}

/** A `Worker` of any kind. */
interface WorkerLike {
  postMessage(message: any, transfer?: any): void;
  terminate(): unknown;
  addEventListener(type: string, listener: (event: any) => void, options?: any): void;
}

/** A `URL`, or anything else that has its address. */
interface Located {
  readonly href: string;
}

/** A `TrustedScriptURL`, where the project declares that type; nothing elsewhere. */
type TrustedUrl = typeof globalThis extends { TrustedScriptURL: { prototype: infer Declared } }
  ? Declared
  : typeof globalThis extends { window: { TrustedScriptURL: { prototype: infer Declared } } }
    ? Declared
    : never;

/** A `Response` of any kind. */
interface ResponseLike {
  readonly ok: boolean;
  readonly status: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Base of {@link Observer}: `EventTarget` where that is declared. */
interface Target extends Instance<"EventTarget", {}> {}

/** An event of an {@link Observer}: a `CustomEvent` where that is declared. */
export type ObserverEvent<T> = Omit<
  Instance<"CustomEvent", { readonly type: string }>,
  "detail"
> & { readonly detail: T };

/** Options of {@link observe}: the chain, and the peers to reach it through. */
export interface ObserveOptions {
  /**
   * The chain: a built-in network by name, slug or chain id (`"op-mainnet"`, `"base"`, `8453`), or
   * the contents of a `rollup.json`, as text or parsed. An object with an `id` and no `genesis`, as
   * viem describes chains, stands for the built-in network with this chain id.
   */
  network:
    string | number | bigint | RollupConfig | { readonly id: number; readonly genesis?: undefined };
  /**
   * Gateways: multiaddrs of WebSocket listeners that end in the peer's id, such as
   * `/dns4/…/tcp/443/wss/p2p/16Uiu2…` or `/ip4/…/tcp/9223/ws/p2p/16Uiu2…`. With several, the head
   * stays live as long as one of them is honest.
   */
  peers: string | Iterable<string>;
  /**
   * JSON-RPC endpoints of the chain, `https://…` or `http://…`, at most 8. They are asked for
   * missing blocks that the peers don't deliver. They are not trusted: each block is checked by its
   * hash. Default: none.
   *
   * The page's content-security policy has to allow them (`connect-src`), and they have to allow
   * the page (CORS). Their URLs can hold keys: events and errors contain only their hosts. Everyone
   * who can read the page can read the keys.
   */
  rpc?: string | Iterable<string> | undefined;
  /** Address of the unsafe-block signer. Default: the network's own. */
  signer?: string | null | undefined;
  /**
   * Reads the unsafe-block signer from a source that you trust, such as your own server or an L1
   * node. It resolves to the address, or to `null` for the network's own signer.
   *
   * It is called while blocks of another signer arrive, at most once a minute, and while no signer
   * is known, every 15 seconds. The observer goes on with the new signer at once, and peers are not
   * blamed for blocks of another signer before it was read again. If it rejects, an `error` event
   * with the code `signer` reports it.
   *
   * Without it, the observer keeps its signer.
   */
  readSigner?: (() => Promise<string | null | undefined> | string | null | undefined) | undefined;
  /**
   * Where the node runs. In a worker of its own, validation never blocks the page.
   *
   * * Default: in a worker, or on this thread where there are no workers.
   * * `true`: in a worker; `false`: on this thread.
   * * A URL (or `TrustedScriptURL`) of a copy of `opp2p/worker.js`, which is started as a module.
   * * A `Worker` that runs `opp2p/worker.js`, or a function that makes one. It belongs to this
   *   observer alone, which terminates it when it stops or does not start.
   *
   * `opp2p/static` and `opp2p/inline` only know `false`.
   */
  worker?:
    | boolean
    | string
    | Located
    | TrustedUrl
    | WorkerLike
    | (() => WorkerLike | Promise<WorkerLike>)
    | undefined;
  /**
   * The WebAssembly module: the URL of a copy of `opp2p/wasm`, a `Response` with it, its bytes, or
   * a compiled `WebAssembly.Module`. Default: the file beside the package's scripts.
   *
   * A thread loads it once: with `worker: false` the first observer of the page decides.
   */
  wasm?: WasmSource | Promise<WasmSource> | undefined;
  /**
   * `"fresh"` (the default): a new peer id for each observer. `"persistent"`: a peer id of this
   * origin, kept in IndexedDB. Observers that run at the same time, in this tab or others, each
   * take another one, up to 16; further ones get a fresh one, and so does a page without Web Locks
   * (over http, other than on localhost). Without IndexedDB, as in some private windows,
   * {@link observe} rejects with the code `"storage"`.
   */
  identity?: "fresh" | "persistent" | undefined;
  /**
   * Follow the chain from its genesis rather than from the first block that arrives. Meant for
   * chains younger than the page. Default: `false`.
   */
  fromGenesis?: boolean | undefined;
  /**
   * What becomes of blocks that are missing below the newest one, for example after the device
   * slept. {@link Observer.head} is the newest verified block in any case.
   *
   * `"fill"` (the default): they are fetched, and `block` events wait until they can follow in
   * order. A gap of more than `maxGap` blocks is skipped. `"skip"`: they are left out as soon as it
   * is clear that they don't just arrive late, and `block` events go on with the newest blocks.
   *
   * A `gap` event reports each gap, its progress and its end.
   */
  onGap?: "fill" | "skip" | undefined;
  /**
   * Maximum number of missing blocks that are fetched. Default: 512, which takes about two minutes
   * from one gateway.
   */
  maxGap?: number | undefined;
  /**
   * Maximum bytes of blocks held while a gap is being filled: 24 MiB to 2 GiB. Default: 64 MiB. If
   * the blocks above a gap don't fit, the chain goes on above the gap, and a `gap` event with the
   * state `skipped` reports the positions that are left out.
   */
  gapMemory?: number | undefined;
  /**
   * Seconds that a gap may go without a new block before the chain goes on above it. Default: 10. A
   * `gap` event with the state `skipped` reports the positions that are left out.
   */
  gapPatience?: number | undefined;
  /**
   * Keeps the newest block in IndexedDB, so that the next visit has a head at once, and blocks
   * continue from it. It is verified again, except for its age. Without storage nothing is kept.
   * Default: `false`.
   */
  keep?: boolean | undefined;
  /**
   * Lets a provider read through this observer; see `opp2p/provider`. `rpc` must have an endpoint.
   * Default: the observer answers no reads.
   */
  reads?: ReadOptions | undefined;
  /**
   * Seconds for the worker and the module to arrive and to start. Default: 60. After it,
   * {@link observe} rejects with the code `timeout`. `Infinity` sets no limit.
   */
  startTimeout?: number | undefined;
  /**
   * Stops the observer, as {@link Observer.stop} does. Before it has started, {@link observe}
   * rejects at once with the signal's `reason`.
   */
  signal?: Signal | null | undefined;
}

/** Options for reads by a provider. */
export interface ReadOptions {
  /**
   * At most 64 methods without proofs that are passed to an endpoint, such as `eth_gasPrice`. Their
   * answers can be false, and are marked as not verified. Calls (`eth_call`, `eth_estimateGas`,
   * `eth_createAccessList`) are passed on only where the rules of the chain's fork are not known
   * here. Default: none.
   */
  unverified?: string | Iterable<string> | undefined;
  /**
   * How to answer a read of the newest block if the endpoints lag behind gossip.
   *
   * `{ wait: 5 }` (the default): wait for them, at most this number of seconds (0 to 20).
   * `{ newest: 64 }`: answer at the newest block that an endpoint has, at most this number of
   * blocks below the head (0 to 128). The answer names the block.
   */
  lag?: { readonly wait: number } | { readonly newest: number } | undefined;
}

/** A source of the WebAssembly module; see {@link ObserveOptions.wasm}. */
export type WasmSource = string | Located | ResponseLike | ArrayBuffer | ArrayBufferView | object;

/** A parsed `rollup.json`. It may have more fields. */
export interface RollupConfig {
  readonly genesis: object;
  readonly block_time: number;
  readonly l2_chain_id: number | string;
  readonly [field: string]: unknown;
}

/**
 * Starts an observer. Resolves as soon as the node runs. `peer` events report whether peers are
 * reached.
 *
 * @throws {ObserverError} if the options are invalid or this browser can't run the node; see
 *   {@link ObserverErrorCode}.
 * @throws the reason of {@link ObserveOptions.signal}, if it aborts before the start.
 */
export function observe(options: ObserveOptions): Promise<Observer>;

/** State of an {@link Observer} at one moment. It can't be changed. */
export interface Status {
  readonly head: Head | null;
  readonly linked: BlockId | null;
  readonly highest: BlockId | null;
  readonly peers: readonly Peer[];
  readonly troubles: readonly Trouble[];
  readonly counters: Counters;
}

/** Options of {@link Observer.follow}. */
export interface FollowOptions {
  /** Name of the consumer, for the `error` event with the code `lagging`. */
  name?: string | undefined;
  /** Maximum number of blocks and marks that wait for the consumer, 1 to 65,536. Default: 256. */
  maxBlocks?: number | undefined;
  /**
   * Maximum bytes of payloads that wait for the consumer. Default: 64 MiB. The newest block is kept
   * even if it is larger.
   */
  maxBytes?: number | undefined;
  /** Ends the iteration: the pending or next step rejects with the signal's `reason`. */
  signal?: Signal | null | undefined;
}

/** What an iterator loses if its consumer is too slow. */
export interface LostMark {
  readonly kind: "lost";
  /** Number of blocks. */
  readonly count: number;
  /** The first and the last of them; `null` if there are none. */
  readonly first: BlockId | null;
  readonly last: BlockId | null;
  /** Number of marks (`reorg` and `skipped`) that are lost with them. */
  readonly marks: number;
}

/** A step of {@link Observer.follow}: a block, or a mark between two blocks. */
export type ChainItem =
  | { readonly kind: "block"; readonly block: Block }
  /** The blocks that follow replace others. */
  | { readonly kind: "reorg"; readonly reorg: ReorgEvent }
  /** The blocks that follow are above a gap, whose missing blocks are left out. */
  | { readonly kind: "skipped"; readonly gap: GapEvent }
  /** The consumer was too slow, and its queue dropped these blocks. */
  | LostMark;

/** Kind of an {@link ObserverError}. Codes are stable; messages may change. */
export type ObserverErrorCode =
  /** `network` is neither a built-in network nor a rollup configuration. */
  | "network"
  /** `peers` is empty or has an address that a browser can't dial. */
  | "address"
  /**
   * `signer` is not an address, or the network has no signer and none was given. Also reported by
   * an `error` event: `readSigner` failed.
   */
  | "signer"
  /** Another option is invalid. */
  | "option"
  /** A page over https can only dial `wss` and ask `https`, or use loopback. */
  | "insecure"
  /**
   * WebAssembly is missing here, the module can't be loaded, or the page's content-security policy
   * forbids it. The message says which.
   */
  | "webassembly"
  /** The worker can't be loaded or made. The message says why. */
  | "worker"
  /** A part of the browser that the node needs is missing here, such as WebSocket. */
  | "environment"
  /** The node did not start within {@link ObserveOptions.startTimeout}. */
  | "timeout"
  /**
   * The content-security policy forbids the page to reach a gateway. Reported by an `error` event,
   * once for each gateway.
   */
  | "policy"
  /** IndexedDB is not available for the identity. */
  | "storage"
  /** A peer is on another chain. Reported by an `error` event. */
  | "wrong-network"
  /**
   * Another peer is at a peer's address: the address has the wrong id. Reported by an `error`
   * event.
   */
  | "wrong-peer"
  /**
   * A gateway has no room for another observer. It is dialled again. Reported by an `error` event.
   */
  | "full"
  /**
   * No WebSocket to a gateway could be opened so far: it is not running, its port is another one,
   * the content-security policy forbids it (`policy` then says so too), its certificate is not
   * trusted, or the network is down. Reported by an `error` event, once for each gateway; it is
   * dialled again.
   */
  | "unreachable"
  /**
   * A gateway closed the connection because another observer with the same identity connected, such
   * as one in a copy of the browser's profile. Reported by an `error` event, once until the gateway
   * is lost for another reason. It is dialled again, less and less often, and then the other
   * observer is told.
   */
  | "replaced"
  /**
   * Peers are connected, but no block has arrived for much longer than the block time. Reported by
   * an `error` event.
   */
  | "no-blocks"
  /**
   * Every block so far was signed by a key other than the expected one. Reported by an `error`
   * event, unless there is a `readSigner`.
   */
  | "wrong-signer"
  /**
   * An iterator fell too far behind and misses blocks. Reported by an `error` event, once until the
   * iterator has caught up.
   */
  | "lagging"
  /**
   * The node ended because of a bug of its own. Reported by an `error` event. With `worker: false`
   * the page can't start another observer on its own thread before it is loaded again.
   */
  | "crashed"
  /**
   * The observer ended before its first block, and {@link Observer.ready} rejects with it; or
   * before it could answer {@link Observer.getBlock} or {@link Observer.decode}.
   */
  | "stopped";

/** An error with a stable code and a message of one sentence. */
export class ObserverError extends Error {
  readonly name: "ObserverError";
  readonly code: ObserverErrorCode;
  /** With the code `lagging`: the name of the iterator, if it has one. */
  readonly iterator?: string | null;
  /** With the code `lagging`: the first loss. */
  readonly lost?: LostMark;
  /** The error behind it, if there is one. */
  readonly cause?: unknown;
  constructor(code: ObserverErrorCode, message: string, options?: { cause?: unknown });
}

/** The events of an {@link Observer} by name, with the type of their `detail`. */
export interface ObserverEvents {
  /**
   * The next canonical block: each position once, in order, unless a `reorg` or a skipped `gap`
   * says otherwise.
   */
  block: Block;
  /**
   * The newest verified block is another one. Reported once for a run of blocks that arrive
   * together, after their `block` events.
   */
  head: Head;
  gap: GapEvent;
  reorg: ReorgEvent;
  equivocation: EquivocationEvent;
  peer: PeerStateEvent;
  rejected: RejectedEvent;
  /** A trouble began. {@link Observer.troubles} has all that last. */
  trouble: Trouble;
  /** A trouble ended. */
  "trouble-ended": Trouble;
  /** {@link ObserveOptions.readSigner} found another signer. */
  signer: SignerEvent;
  /** An endpoint of `rpc` gave a false answer to a read. It is not asked again. */
  lie: LieEvent;
  /** {@link Observer.status} has changed. */
  status: Status;
  error: ObserverError;
}

/** A running observer. Only {@link observe} makes them. */
export class Observer implements Target {
  private constructor();
  /** The chain that is observed. Replaced when the signer changes. */
  readonly network: Readonly<Network>;
  /**
   * Peer id of this observer. Of a node that tabs share, it changes when the node moves to another
   * tab; see `opp2p/shared`.
   */
  readonly peerId: string;
  /** Options of reads, or `null` without {@link ObserveOptions.reads}. */
  readonly reads: Readonly<ReadOptions> | null;
  /**
   * The state, refreshed with every event and once a second. It is the same object until something
   * in it has changed, which a `status` event reports: what `useSyncExternalStore` asks for.
   */
  readonly status: Status;
  /** The head; `null` until a block has arrived. */
  readonly head: Head | null;
  /** The newest block that a `block` event reported: below the head while a gap is open. */
  readonly linked: BlockId | null;
  /** The same block as {@link head}. */
  readonly highest: BlockId | null;
  /** The peers; refreshed with every event and once a second. */
  readonly peers: readonly Peer[];
  /** The troubles that last; refreshed with every event and once a second. */
  readonly troubles: readonly Trouble[];
  /** Counts; refreshed with every event and once a second. */
  readonly counters: Counters;
  /**
   * Resolves to the head as soon as there is one. Rejects with the code `stopped` if the observer
   * ends before.
   */
  readonly ready: Promise<Head>;
  /** Whether {@link stop} was called, or the node ended. */
  readonly stopped: boolean;
  /**
   * The blocks from now on, each position once, in order. Every iterator gets all of them. One that
   * is more than 256 blocks or 64 MiB behind loses the oldest, which an `error` event with the code
   * `lagging` reports. {@link follow} shows lost blocks and reorgs in their place. The iteration
   * ends when the observer stops.
   */
  readonly blocks: AsyncIterable<Block>;
  /**
   * The blocks from now on, and marks in their place for reorgs, skipped gaps and blocks that this
   * consumer was too slow for.
   *
   * ```ts
   * for await (const item of observer.follow({ signal })) {
   *   if (item.kind === "block") add(item.block);
   *   else if (item.kind === "reorg") removeAbove(item.reorg.ancestor);
   *   else readAgain(); // "skipped" or "lost"
   * }
   * ```
   */
  follow(options?: FollowOptions): AsyncIterable<ChainItem>;
  /**
   * Resolves to a block that this observer holds, or to `null`. It holds the chain of the last two
   * minutes (64 blocks or more, as far as 24 MiB suffice) and the {@link head}; by its hash also a
   * block above a gap, or of another branch. No peer is asked for it.
   *
   * @param at the number of the block, or its hash
   * @throws {ObserverError} `option` if `at` is neither; `stopped` if the observer has ended
   */
  getBlock(at: number | bigint | Hex): Promise<Block | null>;
  /**
   * Resolves to a block of this observer as `eth_getBlockByHash` answers it with full transactions:
   * decoded, deposits too.
   */
  decode(block: Block): Promise<Record<string, unknown>>;
  /**
   * Calls `listener` with each event's detail. Returns a function that removes the listener.
   *
   * @throws {ObserverError} `option` if there is no such event
   */
  on<K extends keyof ObserverEvents>(
    type: K,
    listener: (detail: ObserverEvents[K]) => void,
  ): () => void;
  addEventListener<K extends keyof ObserverEvents>(
    type: K,
    listener: (event: ObserverEvent<ObserverEvents[K]>) => void,
    options?: boolean | ListenerOptions,
  ): void;
  addEventListener(type: string, listener: Listener, options?: boolean | ListenerOptions): void;
  removeEventListener<K extends keyof ObserverEvents>(
    type: K,
    listener: (event: ObserverEvent<ObserverEvents[K]>) => void,
    options?: boolean | ListenerOptions,
  ): void;
  removeEventListener(type: string, listener: Listener, options?: boolean | ListenerOptions): void;
  dispatchEvent(event: any): boolean;
  /** Closes all connections and frees everything: worker, memory, timers. May be called twice. */
  stop(): Promise<void>;
  /** Stops the observer at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Options of a listener, as those of `EventTarget`. */
interface ListenerOptions {
  capture?: boolean | undefined;
  once?: boolean | undefined;
  passive?: boolean | undefined;
  signal?: any;
}

type Listener = ((event: any) => void) | { handleEvent(event: any): void } | null;

/** The report of {@link inspect}: what `opp2p inspect --json` prints. Unknown values are `null`. */
export interface InspectReport {
  readonly verdict: "accept" | "reject" | "ignore";
  /** The rule that the message breaks; `null` if it is accepted. */
  readonly reason: string | null;
  /** `v1` to `v4`. */
  readonly topic: string;
  readonly chain_id: number;
  readonly block_number: number | null;
  readonly block_hash: Hex | null;
  readonly parent_hash: Hex | null;
  readonly timestamp: number | null;
  readonly timestamp_ms: number | null;
  readonly tx_count: number | null;
  readonly signer: Hex | null;
  readonly message_id: string;
  readonly compressed_bytes: number;
  readonly payload_bytes: number | null;
  /** These three are only set for a block that breaks the fork schedule. */
  readonly schedule_rule: string | null;
  readonly schedule_says: string | null;
  readonly remedy: string | null;
}

/**
 * Judges one captured gossip message on this thread.
 *
 * @param network as in {@link ObserveOptions.network}
 * @param topic version of the topic
 * @param message the message as it arrived: snappy-compressed
 * @param now milliseconds since 1970 (`Date.now()`)
 * @param signer replaces the network's own
 * @param wasm as in {@link ObserveOptions.wasm}
 */
export function inspect(
  network: ObserveOptions["network"],
  topic: 1 | 2 | 3 | 4,
  message: Uint8Array,
  now: number,
  signer?: string | null,
  wasm?: ObserveOptions["wasm"],
): Promise<InspectReport>;
