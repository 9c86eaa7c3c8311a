// A transport for viem: a provider that starts with the first request.

import { createTransport } from "viem";
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
    // After a failure, a later request may try again.
    starting.catch(() => (starting = undefined));
    return starting;
  };
  return ({ chain, retryCount = 0 } = {}) => {
    const provider = async () => {
      const started = await start(chain);
      if (chain && Number(started.chainId) !== chain.id)
        throw new Error(
          `the transport is on chain ${Number(started.chainId)}, and the client on chain ${chain.id}`,
        );
      return started;
    };
    return createTransport(
      {
        key,
        name,
        methods,
        request: async (args, given) => (await provider()).request(args, given),
        // The node asks every endpoint before it gives up.
        retryCount,
        // By this name viem knows that it may subscribe and need not poll.
        type: "webSocket",
      },
      {
        provider,
        subscribe: async ({ params, onData }) => subscribed(await provider(), params, onData),
        stop: async () => (await starting)?.stop(),
      },
    );
  };
}

/** Subscribes as viem's transports do. */
async function subscribed(provider, params, onData) {
  const subscriptionId = await provider.request({ method: "eth_subscribe", params });
  const listen = ({ data }) => data.subscription === subscriptionId && onData(data);
  provider.on("message", listen);
  return {
    subscriptionId,
    async unsubscribe() {
      provider.removeListener("message", listen);
      const result = await provider
        .request({ method: "eth_unsubscribe", params: [subscriptionId] })
        .catch(() => false);
      return { result };
    },
  };
}
