// Errors of a provider, with the codes of EIP-1193 and JSON-RPC.

export class RpcError extends Error {
  constructor(code, message, { data, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ProviderRpcError";
    this.code = code;
    if (data !== undefined) this.data = data;
  }
}

export const fail = (code, message, more) => {
  throw new RpcError(code, message, more);
};
