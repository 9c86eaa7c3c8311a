// Errors with a code for programs to act on.

export class ObserverError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = "ObserverError";
    this.code = code;
  }
}

/** Returns the message of any thrown value. */
export function words(thrown) {
  if (thrown && typeof thrown.message === "string") return thrown.message;
  try {
    return String(thrown);
  } catch {
    return "an object without a message was thrown";
  }
}

/** Returns any thrown value as an ObserverError: the node's own errors carry a code. */
export function asObserverError(thrown, code) {
  if (thrown instanceof ObserverError) return thrown;
  const own = thrown && typeof thrown.code === "string" ? thrown.code : code;
  return new ObserverError(own, words(thrown), { cause: thrown });
}
