// Peers of js-libp2p in the OP Stack's gossip.
//
// Commands arrive on standard input, one JSON object per line:
// {"id":7,"method":"connect","params":{...}}. The answer to each call goes to standard output:
// {"id":7,"result":...} or {"id":7,"error":"..."}. Between the answers there are events:
// {"event":"block",...}. The program ends when standard input does.
import './missing.mjs'
import { createInterface } from 'node:readline'
import { hexToBytes } from '@noble/hashes/utils.js'
import { messageId, read } from './blocks.mjs'

const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { gossipsub } = await import('@libp2p/gossipsub')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { tcp } = await import('@libp2p/tcp')
const { webSockets } = await import('@libp2p/websockets')
const { multiaddr } = await import('@multiformats/multiaddr')
const { createLibp2p } = await import('libp2p')

const TRANSPORTS = { tcp, websocket: webSockets }
const nodes = new Map()

function tell (value) {
  process.stdout.write(JSON.stringify(value) + '\n')
}

function topicsOf (chainId) {
  return [0, 1, 2, 3].map((version) => `/optimism/${chainId}/${version}/blocks`)
}

function node ({ node }) {
  const found = nodes.get(node)
  if (found === undefined) throw new Error(`no node ${node} runs`)
  return found
}

const methods = {
  /**
   * Starts a peer that accepts messages signed by this signer for the chain, over one kind of
   * transport.
   */
  async start ({ chain_id: chainId, signer, transport, mesh }) {
    const number = nodes.size + 1
    const libp2p = await createLibp2p({
      addresses: { listen: transport === 'tcp' ? ['/ip4/127.0.0.1/tcp/0'] : [] },
      transports: [TRANSPORTS[transport]()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      services: {
        identify: identify(),
        ping: ping(),
        pubsub: gossipsub({
          ...mesh,
          globalSignaturePolicy: 'StrictNoSign',
          msgIdFn: (message) => messageId(message.topic, message.data),
          allowPublishToZeroTopicPeers: true,
          maxInboundDataLength: 20 << 20,
          maxOutboundBufferSize: 64 << 20
        })
      }
    })
    for (const topic of topicsOf(chainId)) {
      libp2p.services.pubsub.topicValidators.set(topic, (from, message) => {
        const heard = { event: 'block', node: number, from: from.toString(), topic }
        let verdict = 'reject'
        try {
          Object.assign(heard, read(topic, chainId, message.data))
          if (heard.signer === signer.toLowerCase()) verdict = 'accept'
        } catch (error) {
          heard.error = error.message
        }
        tell({ ...heard, verdict })
        return verdict
      })
      libp2p.services.pubsub.subscribe(topic)
    }
    nodes.set(number, libp2p)
    const addresses = libp2p.getMultiaddrs().map(String)
    return { node: number, peer_id: libp2p.peerId.toString(), addresses }
  },

  async stop (params) {
    await node(params).stop()
    return true
  },

  async connect (params) {
    await node(params).dial(multiaddr(params.address), { signal: AbortSignal.timeout(20_000) })
    return true
  },

  /** Publishes raw bytes. Returns the number of peers they were sent to. */
  async publish (params) {
    const { pubsub } = node(params).services
    const { recipients } = await pubsub.publish(params.topic, hexToBytes(params.data))
    return recipients.length
  },

  async mesh (params) {
    return node(params).services.pubsub.getMeshPeers(params.topic)
  },

  async subscribers (params) {
    return node(params).services.pubsub.getSubscribers(params.topic).map(String)
  },

  /** Returns the round trip of a ping in milliseconds. */
  async ping (params) {
    const signal = AbortSignal.timeout(10_000)
    return await node(params).services.ping.ping(multiaddr(params.address), { signal })
  },

  /** Returns the identify data that the peer sent. */
  async identified (params) {
    const libp2p = node(params)
    const id = libp2p.getPeers().find((peer) => peer.toString() === params.peer)
    if (id === undefined) throw new Error(`there is no connection with ${params.peer}`)
    const peer = await libp2p.peerStore.get(id)
    const text = (name) => new TextDecoder().decode(peer.metadata.get(name))
    return {
      agent: text('AgentVersion'),
      protocol_version: text('ProtocolVersion'),
      protocols: peer.protocols
    }
  }
}

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })
lines.on('line', async (line) => {
  const { id, method, params } = JSON.parse(line)
  try {
    if (!Object.hasOwn(methods, method)) throw new Error(`there is no method "${method}"`)
    tell({ id, result: await methods[method](params) })
  } catch (error) {
    console.error(error)
    tell({ id, error: error.message })
  }
})
lines.on('close', () => process.exit(0))
