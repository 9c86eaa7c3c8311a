// Plain web3 clients, viem and ethers, that read a node's RPC.
//
// Commands arrive on standard input, one JSON object per line:
// {"id":7,"method":"block","params":{...}}. The answer to each call goes to standard output:
// {"id":7,"result":...} or {"id":7,"error":"..."}. Watched heads come between the answers:
// {"event":"head",...}. The program ends when standard input does.
import { createInterface } from 'node:readline'
import * as ethers from 'ethers'
import * as viem from 'viem'
import { chainConfig } from 'viem/op-stack'

// Fields of a header's hash, in order. Those of later forks are omitted for blocks of earlier ones.
const HEADER = [
  'parentHash', 'sha3Uncles', 'miner', 'stateRoot', 'transactionsRoot', 'receiptsRoot', 'logsBloom',
  'difficulty', 'number', 'gasLimit', 'gasUsed', 'timestamp', 'extraData', 'mixHash', 'nonce',
  'baseFeePerGas', 'withdrawalsRoot', 'blobGasUsed', 'excessBlobGas', 'parentBeaconBlockRoot',
  'requestsHash'
]
const NUMBERS = new Set([
  'difficulty', 'number', 'gasLimit', 'gasUsed', 'timestamp', 'baseFeePerGas', 'blobGasUsed',
  'excessBlobGas'
])
// Interval of the polling clients, in milliseconds.
const INTERVAL = 50

function tell (value) {
  const plain = (_, value) => typeof value === 'bigint' ? value.toString() : value
  process.stdout.write(JSON.stringify(value, plain) + '\n')
}

/** Returns a header's fields as RLP takes them: numbers as bytes, of which zero has none. */
function fields (raw) {
  return HEADER.filter((name) => raw[name] !== undefined).map((name) => {
    if (!NUMBERS.has(name)) return raw[name]
    const digits = BigInt(raw[name]).toString(16)
    return digits === '0' ? '0x' : '0x' + digits.padStart(digits.length + digits.length % 2, '0')
  })
}

/** viem over HTTP or WebSocket, either generic or configured for an OP Stack chain. */
class Viem {
  constructor (transport, options) {
    const polling = { pollingInterval: INTERVAL, cacheTime: 0 }
    this.client = viem.createPublicClient({ transport, ...polling, ...options })
  }

  #which (block) {
    if (typeof block === 'number') return { blockNumber: BigInt(block) }
    return block.length === 66 ? { blockHash: block } : { blockTag: block }
  }

  chainId () {
    return this.client.getChainId()
  }

  async blockNumber () {
    return Number(await this.client.getBlockNumber())
  }

  hashOf (raw) {
    return viem.keccak256(viem.toRlp(fields(raw)))
  }

  raw (number) {
    const params = [viem.numberToHex(number), false]
    return this.client.request({ method: 'eth_getBlockByNumber', params })
  }

  async block (block) {
    const found = await this.client.getBlock(this.#which(block))
    const { number, hash, parentHash, timestamp, transactions } = found
    return { number: Number(number), hash, parentHash, timestamp: Number(timestamp), transactions }
  }

  /** Returns the transactions of a block that is requested in full. */
  async #full (block) {
    const request = { ...this.#which(block), includeTransactions: true }
    return (await this.client.getBlock(request)).transactions
  }

  /** Returns the hashes of the transactions of a block that is requested in full. */
  async inFull (block) {
    return (await this.#full(block)).map(({ hash }) => hash)
  }

  async transactions (block) {
    const transactions = await this.#full(block)
    return Promise.all(transactions.map((transaction) => this.#shown(transaction)))
  }

  async transaction (hash) {
    return this.#shown(await this.client.getTransaction({ hash }))
  }

  async #shown (transaction) {
    const { hash, from, blockNumber, transactionIndex, typeHex, sourceHash, mint } = transaction
    const [number, type] = [Number(blockNumber), Number(typeHex)]
    const shown = { hash, from, number, index: transactionIndex, type, sourceHash, mint }
    if (typeHex === '0x7e') return shown
    // All signed fields are present, and the signature.
    const withData = { ...transaction, data: transaction.input }
    const serializedTransaction = viem.serializeTransaction(withData, transaction)
    shown.hashOf = viem.keccak256(serializedTransaction)
    const signer = await viem.recoverTransactionAddress({ serializedTransaction })
    shown.signer = signer.toLowerCase()
    return shown
  }

  watch (told) {
    this.client.watchBlocks({
      emitMissed: true,
      onBlock: ({ number, hash }) => told({ number: Number(number), hash }),
      onError: (error) => told({ error: error.message })
    })
  }

  /** Subscribes directly at the node, without the client's own processing. */
  async subscribe (told) {
    const onData = ({ result }) => {
      told({ number: Number(result.number), hash: result.hash, hashOf: this.hashOf(result) })
    }
    const onError = (error) => told({ error: error.message })
    await this.client.transport.subscribe({ params: ['newHeads'], onData, onError })
  }
}

/** ethers over HTTP or WebSocket. */
class Ethers {
  constructor (provider) {
    this.provider = provider
  }

  async chainId () {
    return Number((await this.provider.getNetwork()).chainId)
  }

  blockNumber () {
    return this.provider.getBlockNumber()
  }

  hashOf (raw) {
    return ethers.keccak256(ethers.encodeRlp(fields(raw)))
  }

  raw (number) {
    return this.provider.send('eth_getBlockByNumber', [ethers.toQuantity(number), false])
  }

  async block (block) {
    const found = await this.provider.getBlock(block)
    if (found === null) return null
    const { number, hash, parentHash, timestamp, transactions } = found
    return { number, hash, parentHash, timestamp, transactions }
  }

  async inFull (block) {
    const { prefetchedTransactions } = await this.provider.getBlock(block, true)
    return prefetchedTransactions.map(({ hash }) => hash)
  }

  async transactions (block) {
    const { prefetchedTransactions } = await this.provider.getBlock(block, true)
    return prefetchedTransactions.map((transaction) => this.#shown(transaction))
  }

  async transaction (hash) {
    return this.#shown(await this.provider.getTransaction(hash))
  }

  #shown (transaction) {
    const { hash, from, blockNumber, index, type } = transaction
    const shown = { hash, from: from.toLowerCase(), number: blockNumber, index, type }
    if (type === 0x7e) return shown
    const again = ethers.Transaction.from(transaction)
    shown.hashOf = again.hash
    shown.signer = again.from.toLowerCase()
    return shown
  }

  watch (told) {
    this.provider.on('block', (number) => told({ number }))
  }
}

function client ({ client, url }) {
  const transport = () => url.startsWith('ws') ? viem.webSocket(url) : viem.http(url)
  switch (client) {
    case 'viem':
      return new Viem(transport())
    case 'viem-op-stack': {
      const nativeCurrency = { name: 'Ether', symbol: 'ETH', decimals: 18 }
      const rpcUrls = { default: { http: [url] } }
      const own = { id: 901, name: 'development', nativeCurrency, rpcUrls }
      const chain = viem.defineChain({ ...chainConfig, ...own })
      return new Viem(transport(), { chain })
    }
    case 'ethers': {
      const options = { cacheTimeout: -1, pollingInterval: INTERVAL }
      return new Ethers(url.startsWith('ws')
        ? new ethers.WebSocketProvider(url, undefined, options)
        : new ethers.JsonRpcProvider(url, undefined, options))
    }
  }
  throw new Error(`there is no client ${client}`)
}

const clients = new Map()

/** Returns the client of this name at this address; one for all calls. */
function of (params) {
  const key = `${params.client} ${params.url}`
  if (!clients.has(key)) clients.set(key, client(params))
  return clients.get(key)
}

const methods = {
  chainId: (params) => of(params).chainId(),
  blockNumber: (params) => of(params).blockNumber(),
  block: (params) => of(params).block(params.block),
  /** Reads this many blocks at once; returns how many answers had the block. */
  async many ({ count, blocks, ...params }) {
    const wanted = Array.from({ length: count }, (_, at) => blocks[at % blocks.length])
    const found = await Promise.all(wanted.map((block) => of(params).block(block)))
    return found.filter(({ hash }, at) => hash === wanted[at]).length
  },

  inFull: (params) => of(params).inFull(params.block),
  transactions: (params) => of(params).transactions(params.block),
  transaction: (params) => of(params).transaction(params.hash),

  /**
   * Returns a block's hash from the answer, and as this client's library computes it from the other
   * fields.
   */
  async hashes (params) {
    const raw = await of(params).raw(params.number)
    return { hash: raw.hash, computed: of(params).hashOf(raw) }
  },

  /** Reports heads from now on, as the client sees them. */
  async watch (params) {
    of(params).watch((head) => tell({ event: 'head', watch: params.name, ...head }))
  },

  /** Does the same with a subscription of its own. */
  async subscribe (params) {
    await of(params).subscribe((head) => tell({ event: 'head', watch: params.name, ...head }))
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line)
  Promise.resolve().then(() => methods[method](params)).then(
    (result) => tell({ id, result: result ?? null }),
    (error) => tell({ id, error: error.stack })
  )
}
process.exit(0)
