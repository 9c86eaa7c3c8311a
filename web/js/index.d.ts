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
 * @module
 */

/** Bytes as `0x` and lower-case hexadecimal digits. */
export type Hex = `0x${string}`;

/** What to observe, and through whom. */
export interface ObserveOptions {
  /**
   * The chain: a built-in network by name, slug or chain id (`"op-mainnet"`, `"base"`, `8453`), or the contents of
   * a `rollup.json`, as text or parsed.
   */
  network: string | number | object;
  /**
   * Gateways: multiaddrs of WebSocket listeners that end in the peer's id, `/dns4/…/tcp/443/wss/p2p/16Uiu2…` or
   * `/ip4/…/tcp/9223/ws/p2p/16Uiu2…`. With several, the head stays live as long as one of them is honest.
   */
  peers: string | readonly string[];
  /** The unsafe-block signer's address, in place of the network's own. */
  signer?: string;
  /** Whether the node runs in a worker of its own, so that validation never blocks the page. Default: `true`. */
  worker?: boolean;
  /**
   * `"fresh"`: a new peer id each time (the default). `"persistent"`: one that is kept in IndexedDB, for this origin.
   * Where there is no IndexedDB, as in some private windows, that is a rejection with the code `"storage"`.
   */
  identity?: "fresh" | "persistent";
  /** Follow the chain from its genesis on rather than from the first block that comes: for chains younger than the page. */
  fromGenesis?: boolean;
  /** Bytes that blocks may take while a gap is being filled. Default: 64 MiB. What is not kept is fetched again. */
  gapMemory?: number;
  /**
   * How long a gap may stay without a new block of it before the chain goes on above it, in seconds. Default: 60.
   */
  gapPatience?: number;
  /** Stops the observer, as {@link Observer.stop} does. */
  signal?: AbortSignal;
}

/**
 * Starts to observe. Resolves as soon as the node runs; that a peer is reached, or is not, is told by `peer` events.
 *
 * @throws {ObserverError} if the options make no sense or this browser can't run it; see {@link ObserverErrorCode}.
 */
export function observe(options: ObserveOptions): Promise<Observer>;

/** A position of the chain. */
export interface BlockId {
  number: number;
  hash: Hex;
}

/** The head: the newest block that is linked to all before it. */
export interface Head extends BlockId {
  /** Seconds since 1970, as the block says. */
  timestamp: number;
  /** Milliseconds since 1970, when it came, to the microsecond. */
  receivedAt: number;
}

/**
 * A block whose sequencer signature (or link to a signed block), transactions root and hash were checked here.
 *
 * What was *not* checked: that its transactions are valid and lead to its state root, which takes execution, and that
 * it will be final, which only L1 can say.
 */
export interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly parentHash: Hex;
  /** Seconds since 1970. */
  readonly timestamp: number;
  /** Version of the payload: 1 to 4. */
  readonly version: number;
  readonly feeRecipient: Hex;
  readonly stateRoot: Hex;
  readonly receiptsRoot: Hex;
  readonly prevRandao: Hex;
  readonly gasUsed: bigint;
  readonly gasLimit: bigint;
  readonly baseFeePerGas: bigint;
  readonly extraData: Hex;
  /** `null` before Ecotone. */
  readonly parentBeaconBlockRoot: Hex | null;
  /** `null` before Isthmus. */
  readonly withdrawalsRoot: Hex | null;
  readonly transactionCount: number;
  /** Raw transactions as they stand in the block, EIP-2718. They are views into {@link payload}, made at each access. */
  readonly transactions: Uint8Array[];
  /** The SSZ payload, as it was signed, without the parent beacon block root. */
  readonly payload: Uint8Array;
  /** Bytes of {@link payload}. */
  readonly size: number;
  /** The sequencer's, 65 bytes (r, s, v); `null` for a block that was fetched and is proved by its signed descendant. */
  readonly signature: Hex | null;
  /** How it came: gossiped by a peer, or asked for by its number to fill a gap. */
  readonly origin: "gossip" | "request";
  /** The peer that it came from; `null` if that is not known any more. */
  readonly peer: string | null;
  /** Milliseconds since 1970, to the microsecond: when it came. */
  readonly receivedAt: number;
  /** Milliseconds from its arrival to the end of its validation; `null` for a fetched one. */
  readonly validation: number | null;
}

/** Blocks are missing, or no longer. */
export interface GapEvent {
  /** Names the gap, from `opened` to `closed`. */
  id: number;
  /**
   * `skipped`: the chain goes on above the gap, whose blocks nobody had. `refused`: it is not asked for, see `reason`.
   */
  state: "opened" | "changed" | "closed" | "skipped" | "refused";
  /** The block below the missing ones; `null` where it does not matter. */
  after: BlockId | null;
  /** The block above them. */
  before: BlockId | null;
  /** How many. */
  missing: number;
  reason: string | null;
}

/** The sequencer signed a longer branch. */
export interface ReorgEvent {
  /** The highest block of both branches. */
  ancestor: BlockId;
  /** Blocks that were handed on and are not canonical any more, lowest first. */
  abandoned: BlockId[];
  /** Blocks that take their place and follow as `block` events, lowest first. */
  adopted: BlockId[];
}

/** The sequencer signed two blocks of one height. */
export interface EquivocationEvent {
  number: number;
  first: BlockId;
  second: BlockId;
}

/** A peer, as it stands. */
export interface Peer {
  /** Its peer id. */
  id: string;
  /** Where it is dialled. */
  address: string;
  /**
   * `waiting`: between two attempts. `banned`: it broke the rules, and is left alone until `bannedUntil`.
   */
  state: "dialling" | "connected" | "waiting" | "banned";
  /** Its software; `null` before it said so. */
  agent: string | null;
  /** Its score; below -100 it is banned. */
  score: number;
  /** Round trip of the last ping in milliseconds; `null` before the first. */
  roundTrip: number | null;
  /** Whether it is in the gossip mesh of the present topic. */
  inMesh: boolean;
  /** Blocks of which it brought the first copy. */
  delivered: number;
  /** Messages of it that broke a rule. */
  rejected: number;
  /** Seconds since 1970; `null` unless banned. */
  bannedUntil: number | null;
  /** Why it was last not reached or lost; `null` if it never was. */
  reason: string | null;
}

/** A peer's state changed. */
export interface PeerStateEvent extends Peer {
  /** What happened. `silent`: it answered no more and was disconnected. */
  what: "dialling" | "connected" | "disconnected" | "unreachable" | "silent" | "banned" | "identified";
}

/** A message was not accepted. */
export interface RejectedEvent {
  /** The rule that decided, such as `wrong_signer`, `block_hash`, `too_old`. */
  rule: string;
  /** The same in words. */
  text: string;
  /** `reject` counts against the sender; `ignore` does not. */
  verdict: "reject" | "ignore";
  /** Who sent it. */
  peer: string;
  /** Version of the topic: 1 to 4. */
  topic: number;
  /** Milliseconds since 1970. */
  at: number;
}

/** Counts since the start. */
export interface Counters {
  /** Blocks handed on. */
  blocks: number;
  /** Messages accepted. */
  accepted: number;
  /** Messages rejected, by rule. */
  rejected: Record<string, number>;
  /** Messages ignored, by rule. */
  ignored: Record<string, number>;
  /** Blocks fetched by number. */
  fetched: number;
  /** Bytes received from and sent to peers, handshakes and framing included. */
  bytesIn: number;
  bytesOut: number;
  /** Bytes of WebAssembly memory. */
  memory: number;
}

/** What an {@link ObserverError} is about. Codes are stable; sentences may change. */
export type ObserverErrorCode =
  /** `network` is no built-in one and no rollup configuration. */
  | "network"
  /** An address in `peers` is none that a browser can dial, or there are none. */
  | "address"
  /** `signer` is no address, or the network has none and none was given. */
  | "signer"
  /** Another option makes no sense. */
  | "option"
  /** A page over https can only dial `wss`, and loopback. */
  | "insecure"
  /** There is no WebAssembly here, or it is forbidden by the page's content-security policy. */
  | "webassembly"
  /** The worker does not start. */
  | "worker"
  /** There is no IndexedDB for the identity. */
  | "storage"
  /** A peer is on another chain. Told by an `error` event. */
  | "wrong-network"
  /** Every block so far was signed by another key than the one expected. Told by an `error` event. */
  | "wrong-signer"
  /** A consumer of `blocks` fell too far behind and misses some. Told by an `error` event. */
  | "lagging"
  /** The node ended by a defect of its own. Told by an `error` event. */
  | "crashed"
  /** The observer was stopped, or its `signal` aborted, before it started. */
  | "stopped";

/** What went wrong, in a code and one sentence. */
export class ObserverError extends Error {
  readonly code: ObserverErrorCode;
  constructor(code: ObserverErrorCode, message: string);
}

/** The events of an {@link Observer} by name, with what `detail` holds. */
export interface ObserverEvents {
  /** The next canonical block: each position once, in order, unless a `reorg` or a skipped `gap` says otherwise. */
  block: Block;
  /** The head moved. Once for a run of blocks that come together. */
  head: Head;
  gap: GapEvent;
  reorg: ReorgEvent;
  equivocation: EquivocationEvent;
  peer: PeerStateEvent;
  rejected: RejectedEvent;
  error: ObserverError;
}

/** The chain that is observed. */
export interface Network {
  /** Its built-in name, or `chain 901`. */
  name: string;
  chainId: number;
  /** Seconds between two blocks. */
  blockTime: number;
  /** Who has to have signed. */
  signer: Hex;
}

/** A running observer. */
export class Observer extends EventTarget {
  /** The chain that is observed. */
  readonly network: Network;
  /** Who this observer is among peers. */
  readonly peerId: string;
  /** The head, if a block has come. */
  readonly head: Head | null;
  /** The highest block that the sequencer signed: above the head while a gap is open. */
  readonly highest: BlockId | null;
  /** The peers as they are; refreshed with every event and once a second. */
  readonly peers: readonly Peer[];
  /** Counts; refreshed with every event and once a second. */
  readonly counters: Counters;
  /** Whether {@link stop} was called, or the node ended. */
  readonly stopped: boolean;
  /**
   * The blocks from now on, each position once, in order. Every iterator of it gets all of them. One that is more
   * than 256 blocks behind loses the oldest, of which an `error` event with the code `lagging` tells. It ends when the observer stops.
   */
  readonly blocks: AsyncIterable<Block>;
  /** Calls `listener` with each event's detail. The answer ends that. */
  on<K extends keyof ObserverEvents>(type: K, listener: (detail: ObserverEvents[K]) => void): () => void;
  addEventListener<K extends keyof ObserverEvents>(
    type: K,
    listener: (event: CustomEvent<ObserverEvents[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ObserverEvents>(
    type: K,
    listener: (event: CustomEvent<ObserverEvents[K]>) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  /** Closes all connections and frees everything: worker, memory, timers. May be called twice. */
  stop(): Promise<void>;
}

/**
 * Judges one captured gossip message and tells what it is: what `opp2p inspect --json` prints.
 *
 * @param network as in {@link ObserveOptions.network}
 * @param topic version of the topic, 1 to 4
 * @param message as it came: snappy-compressed
 * @param now milliseconds since 1970 (`Date.now()`)
 * @param signer in place of the network's own
 */
export function inspect(
  network: string | number | object,
  topic: number,
  message: Uint8Array,
  now: number,
  signer?: string,
): Promise<object>;
