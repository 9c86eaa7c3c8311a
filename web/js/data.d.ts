/**
 * What an observer reports: blocks, and the events around them. All of it is read-only.
 *
 * @module
 */

import type { Observer } from "./index.js";

/** Bytes as `0x` and lower-case hexadecimal digits. */
export type Hex = `0x${string}`;

/** A position of the chain. */
export interface BlockId {
  readonly number: number;
  readonly hash: Hex;
}

/**
 * The head: the newest verified block. While a gap below it is being filled, it is ahead of the
 * `block` events; see {@link Observer.linked}.
 */
export interface Head extends BlockId {
  /** Whole seconds since 1970, from the block's header. Several blocks may share a timestamp. */
  readonly timestamp: number;
  /**
   * Milliseconds since 1970: the timestamp, plus the milliseconds that the blocks of some chains
   * carry (Base).
   */
  readonly timestampMs: number;
  /** Time of arrival in milliseconds since 1970, to the microsecond. */
  readonly receivedAt: number;
}

/**
 * A block whose sequencer signature (or link to a signed block), transactions root and hash were
 * checked here. It can't be changed, and all listeners and iterators share it.
 *
 * *Not* checked: that its transactions are valid and lead to its state root, which takes execution,
 * and that it will be final, which only L1 can tell.
 */
export interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly parentHash: Hex;
  /** Whole seconds since 1970, from the header. Several blocks may share a timestamp. */
  readonly timestamp: number;
  /**
   * Milliseconds since 1970: the timestamp, plus the milliseconds that the blocks of some chains
   * carry (Base).
   */
  readonly timestampMs: number;
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
  /** The bloom filter over the logs: 256 bytes. */
  readonly logsBloom: Hex;
  readonly transactionsRoot: Hex;
  /** `null` before Ecotone. */
  readonly parentBeaconBlockRoot: Hex | null;
  /** `null` before Ecotone. Since Jovian: the data-availability footprint. */
  readonly blobGasUsed: bigint | null;
  /** `null` before Ecotone. */
  readonly excessBlobGas: bigint | null;
  /** The header's; `null` before Canyon. */
  readonly withdrawalsRoot: Hex | null;
  /** `null` before Isthmus. */
  readonly requestsHash: Hex | null;
  /**
   * `null` before Canyon, and empty since: blocks of the OP Stack have no withdrawals of L1's kind.
   */
  readonly withdrawals: readonly never[] | null;
  readonly transactionCount: number;
  /** Hashes of the transactions, in the order of the block. */
  readonly transactionHashes: readonly Hex[];
  /** Length in bytes of the block in RLP, as JSON-RPC reports it. */
  readonly size: number;
  /** {@link feeRecipient} by its name in JSON-RPC. */
  readonly miner: Hex;
  /** {@link prevRandao} by its name in JSON-RPC. */
  readonly mixHash: Hex;
  /** These three are the same for every block since the merge. */
  readonly difficulty: 0n;
  readonly nonce: Hex;
  readonly sha3Uncles: Hex;
  /** Raw EIP-2718 transactions in the order of the block. They are copied at each access. */
  readonly transactions: Uint8Array[];
  /**
   * The SSZ payload as it was signed, without the parent beacon block root. It is copied at each
   * access.
   */
  readonly payload: Uint8Array;
  /** Length of {@link payload} in bytes. */
  readonly payloadSize: number;
  /**
   * The sequencer's signature, 65 bytes (r, s, v); `null` for a fetched block, which its signed
   * descendant proves.
   */
  readonly signature: Hex | null;
  /** Whether a peer gossiped the block, or it was requested to fill a gap. */
  readonly origin: "gossip" | "request";
  /**
   * The peer that sent it; `null` for a block from a JSON-RPC endpoint, or if the peer is no longer
   * known.
   */
  readonly peer: string | null;
  /** Time of arrival in milliseconds since 1970, to the microsecond. */
  readonly receivedAt: number;
  /** Milliseconds from its arrival to the end of its validation; `null` for a fetched block. */
  readonly validation: number | null;
  /**
   * All fields for `JSON.stringify`, except for {@link payload}: big integers as decimal text,
   * transactions as hexadecimal digits.
   */
  toJSON(): Record<string, unknown>;
}

/** A gap of missing blocks opened, changed or ended. */
export interface GapEvent {
  /** Identifies the gap from `opened` to `closed`; `null` for `skipped`. */
  readonly id: number | null;
  /**
   * `changed`: it is being filled, and `missing` is smaller; or its ends have moved. `skipped`: the
   * chain goes on at `before`, and the missing blocks are left out. Blocks that were reported above
   * `after` are then no longer canonical. If `before` is not above `after`, the blocks from the
   * height of `before` up are no longer canonical; if it is {@link detached}, none is. `refused`:
   * the gap is not requested, see `reason`.
   */
  readonly state: "opened" | "changed" | "closed" | "skipped" | "refused";
  /**
   * The block below the missing ones; `null` for `closed` and `refused`. For `skipped` it can be
   * above {@link before}: see {@link state}.
   */
  readonly after: BlockId | null;
  /** The block from which the chain goes on; `null` for `closed` and `refused`. */
  readonly before: BlockId | null;
  /** Number of missing blocks; 0 for `closed` and `refused`. */
  readonly missing: number;
  /**
   * For `skipped`: whether the chain goes on with a branch that does not build on the blocks
   * reported before. None of them is canonical any longer, whatever its height. Otherwise `false`.
   */
  readonly detached: boolean;
  readonly reason: string | null;
}

/** Bounds of more than 256 consecutive blocks of one branch. */
export interface BlockRange {
  readonly count: number;
  readonly lowest: BlockId;
  readonly highest: BlockId;
}

/** The sequencer switched to another branch. The head can be lower afterwards. */
export interface ReorgEvent {
  /** The highest block of both branches. */
  readonly ancestor: BlockId;
  /** Blocks that are no longer canonical: all above `ancestor`, lowest first, or their bounds. */
  readonly abandoned: readonly BlockId[] | BlockRange;
  /**
   * The known blocks that replace them, lowest first, or their bounds. They follow as `block`
   * events, at once or as they are fetched.
   */
  readonly adopted: readonly BlockId[] | BlockRange;
}

/** The sequencer signed two blocks of one height. */
export interface EquivocationEvent {
  readonly number: number;
  readonly first: BlockId;
  readonly second: BlockId;
}

/** State of a peer. */
export interface Peer {
  /** Its peer id. */
  readonly id: string;
  /** Address at which it is dialled. */
  readonly address: string;
  /**
   * `waiting`: between two dials. `banned`: it broke the rules and is not dialled before
   * `bannedUntil`.
   */
  readonly state: "dialling" | "connected" | "waiting" | "banned";
  /** Its software; `null` until it reports one. */
  readonly agent: string | null;
  /** Its score; a peer below -100 is banned. */
  readonly score: number;
  /** Round trip of the last ping in milliseconds; `null` before the first. */
  readonly roundTrip: number | null;
  /** Whether it is in the gossip mesh of the current topic. */
  readonly inMesh: boolean;
  /** Number of blocks that it sent first. */
  readonly delivered: number;
  /** Number of its messages that were rejected. Ignored ones don't count. */
  readonly rejected: number;
  /** End of the ban in seconds since 1970; `null` unless banned. */
  readonly bannedUntil: number | null;
  /**
   * Reason why it was last unreachable or lost, in words; `null` while it is dialled, once it is
   * connected, and if it never was.
   */
  readonly reason: string | null;
  /** The same for programs. Later versions may have more. */
  readonly reasonCode: PeerReason | null;
  /** Seconds until the next dial, as of this report; `null` unless `waiting`. */
  readonly retryIn: number | null;
}

/**
 * Reason why a peer is unreachable or lost.
 *
 * * `unreachable`: no WebSocket could be opened there. {@link Peer.reason} has the likely causes.
 * * `timeout`: it did not answer in time.
 * * `full`: it serves as many observers as it can.
 * * `wrong-peer`: it has another peer id than the address says.
 * * `wrong-network`: it is on another chain.
 * * `handshake`: it does not speak the protocol.
 * * `closed`: it closed the connection.
 * * `replaced`: it said that another observer with this identity connected, and closed the
 *   connection.
 * * `silent`: it stopped answering.
 * * `banned`: it broke the rules.
 */
export type PeerReason =
  | "unreachable"
  | "timeout"
  | "full"
  | "wrong-peer"
  | "wrong-network"
  | "handshake"
  | "closed"
  | "replaced"
  | "silent"
  | "banned";

/** A peer's state changed. */
export interface PeerStateEvent extends Peer {
  /** What happened. `silent`: it stopped answering and was disconnected. */
  readonly what:
    "dialling" | "connected" | "disconnected" | "unreachable" | "silent" | "banned" | "identified";
}

/** A message was not accepted. */
export interface RejectedEvent {
  /** The rule that the message broke, such as `wrong_signer`, `block_hash` or `too_old`. */
  readonly rule: string;
  /** The rule in words. */
  readonly text: string;
  /** `reject` counts against the sender; `ignore` does not. */
  readonly verdict: "reject" | "ignore";
  /** Peer id of the sender. */
  readonly peer: string;
  /** Version of the topic: 1 to 4. */
  readonly topic: number;
  /** Time of arrival in milliseconds since 1970. */
  readonly at: number;
}

/**
 * Kind of a {@link Trouble}. Later versions may have more.
 *
 * * `signer_unknown`: the signer is not known, so every block is ignored.
 * * `signer_wrong`: blocks arrive that another key signed.
 * * `schedule_in_doubt`: blocks that the sequencer signed break the fork schedule of `network`,
 *   which is therefore likely outdated.
 * * `unknown_fork`: `network` has a fork that this version does not know.
 * * `no_peers`: no gateway is connected.
 * * `no_mesh`: gateways are connected, but none passes blocks on.
 * * `no_blocks`: no block has arrived for longer than the block time explains.
 * * `gap`: blocks are missing, and no peer has provided them yet.
 * * `off_branch`: the sequencer signed blocks that are not known to build on the head.
 * * `two_sequencers`: the sequencer's key signs two branches at once.
 * * `clock`: the clock of this device is wrong, judged by blocks that the sequencer signed.
 * * `refused`: a high share of the messages is refused.
 * * `rpc`: endpoints of `rpc` give no answers.
 */
export type TroubleKind =
  | "signer_unknown"
  | "signer_wrong"
  | "schedule_in_doubt"
  | "unknown_fork"
  | "no_peers"
  | "no_mesh"
  | "no_blocks"
  | "gap"
  | "off_branch"
  | "two_sequencers"
  | "clock"
  | "refused"
  | "rpc";

/**
 * A problem of the observer itself: something stops blocks, or is likely to. There is at most one
 * of each kind. Most kinds begin only after their cause has lasted for some seconds, and end only
 * after it has been gone for some seconds.
 */
export interface Trouble {
  readonly kind: TroubleKind;
  /**
   * What is wrong, in one sentence without its full stop. It may change while the trouble lasts,
   * and from version to version.
   */
  readonly text: string;
  /** What to do about it, in one clause that begins in lower case. */
  readonly remedy: string;
  /** Time of its first sign, in whole seconds since 1970. */
  readonly since: number;
  /** Time of its newest sign, or of its end, in whole seconds since 1970. */
  readonly last: number;
}

/** The unsafe-block signer changed. */
export interface SignerEvent {
  /** The new signer; `null` if it is not known. */
  readonly signer: Hex | null;
  /** Its predecessor, while blocks of it are still accepted; otherwise `null`. */
  readonly previous: Hex | null;
}

/** A JSON-RPC endpoint gave a false answer. */
export interface LieEvent {
  /** Host of the endpoint. The rest of its URL is omitted, since it can contain a key. */
  readonly endpoint: string;
  /** JSON-RPC method. */
  readonly method: string;
  /** The false part of the answer, such as `balance`. */
  readonly part: string;
}

/** Counts since the start. */
export interface Counters {
  /** Blocks handed on. */
  readonly blocks: number;
  /** Messages accepted. */
  readonly accepted: number;
  /** Messages rejected, by rule. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Messages ignored, by rule. */
  readonly ignored: Readonly<Record<string, number>>;
  /** Blocks fetched from peers and JSON-RPC endpoints. */
  readonly fetched: number;
  /** Bytes received from and sent to peers, handshakes and framing included. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes of WebAssembly memory. */
  readonly memory: number;
}

/** The chain that is observed. */
export interface Network {
  /** Its built-in name, or `chain 901`. */
  readonly name: string;
  readonly chainId: number;
  /** Seconds between two blocks; 0.2 where there are five a second. */
  readonly blockTime: number;
  /**
   * Address of the key that has to sign the blocks; `null` as long as `readSigner` has not found
   * it.
   */
  readonly signer: Hex | null;
  /**
   * Where the signer comes from: the built-in network or the rollup configuration, the option
   * `signer`, or `readSigner`.
   */
  readonly signerSource: "network" | "option" | "reader";
}
