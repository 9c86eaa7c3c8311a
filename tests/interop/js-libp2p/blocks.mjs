// The OP Stack's gossip messages, read and checked without any code of opp2p: noble's curves and
// hashes, and snappyjs.
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import snappy from 'snappyjs'

const LIMIT = 10 << 20
const SIGNATURE = 65
// Positions of the height and the hash in a payload.
const NUMBER = 404
const HASH = 472

/** Returns the contents of a snappy block; undefined if it is invalid. */
function unpacked (data) {
  try {
    return snappy.uncompress(data, LIMIT)
  } catch {
    return undefined
  }
}

/** Returns a message's id: the hash of its contents, if they can be read, and of the topic. */
export function messageId (topic, data) {
  const name = utf8ToBytes(topic)
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(name.length), true)
  const contents = unpacked(data)
  const domain = new Uint8Array([contents === undefined ? 0 : 1, 0, 0, 0])
  return sha256(concatBytes(domain, length, name, contents ?? data)).slice(0, 20)
}

/**
 * Returns the number at the end of a topic's path, which is one less than the version of its
 * blocks.
 */
function versionOf (topic) {
  return Number(topic.split('/')[3])
}

/**
 * Returns height, hash and signer's address of the block in a message. Throws if it can't be read.
 */
export function read (topic, chainId, data) {
  const contents = unpacked(data)
  if (contents === undefined || contents.length < SIGNATURE + 1) {
    throw new Error('this is not a message')
  }
  const [signature, signed] = [contents.subarray(0, SIGNATURE), contents.subarray(SIGNATURE)]
  const chain = new Uint8Array(32)
  new DataView(chain.buffer).setBigUint64(24, BigInt(chainId))
  const hash = keccak_256(concatBytes(new Uint8Array(32), chain, keccak_256(signed)))
  // The library puts the recovery id first.
  const recovered = concatBytes(signature.subarray(64), signature.subarray(0, 64))
  const key = secp256k1.recoverPublicKey(recovered, hash, { prehash: false })
  const point = secp256k1.Point.fromBytes(key).toBytes(false)
  const payload = versionOf(topic) >= 2 ? signed.subarray(32) : signed
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  return {
    number: Number(view.getBigUint64(NUMBER, true)),
    hash: '0x' + bytesToHex(payload.subarray(HASH, HASH + 32)),
    signer: '0x' + bytesToHex(keccak_256(point.subarray(1)).subarray(12))
  }
}
