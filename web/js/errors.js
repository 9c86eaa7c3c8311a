// What can go wrong, with a code that programs act on.

export class ObserverError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ObserverError";
    this.code = code;
  }
}

/** Whatever was thrown, as an ObserverError: the node's own errors carry a code. */
export function asObserverError(thrown, code) {
  if (thrown instanceof ObserverError) return thrown;
  const message = thrown && typeof thrown.message === "string" ? thrown.message : String(thrown);
  const own = thrown && typeof thrown.code === "string" ? thrown.code : code;
  return new ObserverError(own, message);
}
