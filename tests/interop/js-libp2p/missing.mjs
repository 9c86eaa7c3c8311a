// What js-libp2p takes for granted and Node.js 20 lacks.
import { WebSocket } from 'ws'

globalThis.WebSocket ??= WebSocket

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => ([resolve, reject] = [yes, no]))
  return { promise, resolve, reject }
}
