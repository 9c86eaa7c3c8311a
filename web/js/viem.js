// A transport for viem over a provider, which the first request starts.

import { createTransport } from "viem";
import { ENDED } from "./observer.js";
import { Provider, createProvider } from "./provider.js";

/** Returns the transport; see viem.d.ts. */
export function opp2p(options, { key = "opp2p", name = "opp2p", methods } = {}) {
  let starting;
  const start = (chain) => {
    if (options instanceof Provider) return Promise.resolve(options);
    const network = options?.network ?? chain?.id;
    starting ??= createProvider(
      options?.observer || network === undefined ? options : { ...options, network },
    );
    // After a failure, a later request tries again.
    starting.catch(() => (starting = undefined));
    return starting;
  };
  return ({ chain, retryCount = 0 } = {}) => {
    const provider = async () => {
      const started = await start(chain);
      if (chain && Number(started.chainId) !== chain.id)
        throw new Error(
          `the transport is on chain ${Number(started.chainId)}, the client on chain ${chain.id}`,
        );
      return started;
    };
    return createTransport(
      {
        key,
        name,
        methods,
        request: async (args, given) => (await provider()).request(args, given),
        // The node already asks all endpoints.
        retryCount,
        // viem subscribes, instead of polling, over transports of this type.
        type: "webSocket",
      },
      {
        provider,
        subscribe: async (given) => subscribed(await provider(), given),
        stop: async () => (await starting)?.stop(),
      },
    );
  };
}

/** Implements the `subscribe` of viem's transports. */
async function subscribed(provider, { params, onData, onError }) {
  const subscriptionId = await provider.request({ method: "eth_subscribe", params });
  const listen = ({ data }) => data.subscription === subscriptionId && onData(data);
  const fail = (error) => onError?.(error);
  provider.on("message", listen).once(ENDED, fail);
  return {
    subscriptionId,
    async unsubscribe() {
      provider.removeListener("message", listen).removeListener(ENDED, fail);
      const result = await provider
        .request({ method: "eth_unsubscribe", params: [subscriptionId] })
        .catch(() => false);
      return { result };
    },
  };
}
