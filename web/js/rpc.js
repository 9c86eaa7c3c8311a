// Posts the node's requests to JSON-RPC endpoints, and returns the answers. The node verifies them.
//
// Bounds: the node bounds the pending requests and the size of each answer. A request takes at
// most TIMEOUT_MS.

/** Timeout of a request in milliseconds, to the last byte of the answer. */
export const TIMEOUT_MS = 10_000;

const CANCELLED = Object.freeze({ failure: "closed", why: "the request was cancelled" });

/**
 * A failed request: the node's name for the failure, and the reason, which never contains the URL.
 */
class Failure extends Error {
  constructor(failure, why) {
    super(why);
    this.failure = failure;
  }
}

/**
 * Returns `post(url, body, limit, signal)` and `stop()`, which aborts all pending requests and
 * prevents further ones. `post` always resolves: to the bytes of the answer, or to
 * `{ failure, why }`, where `failure` is `timeout`, `closed`, `too-long` or `limited`. `signal`
 * aborts the request.
 *
 * @param {number} [timeout] milliseconds
 */
export function poster(timeout = TIMEOUT_MS) {
  const underWay = new Set();
  let stopped = false;
  return {
    async post(url, body, limit, signal) {
      if (stopped) return { failure: "closed", why: "the node stops" };
      if (signal?.aborted) return CANCELLED;
      const controller = new AbortController();
      let timedOut = false;
      const timer = setTimeout(() => {
        timedOut = true;
        controller.abort();
      }, timeout);
      underWay.add(controller);
      const cancel = () => controller.abort();
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        return await answer(url, body, limit, controller.signal);
      } catch (error) {
        if (signal?.aborted) return CANCELLED;
        if (timedOut) return { failure: "timeout", why: `no answer within ${timeout / 1000} s` };
        if (error instanceof Failure) return { failure: error.failure, why: error.message };
        // Browsers hide the cause, and the error's text can contain the URL.
        const why = "the network is down, or the endpoint's CORS rules or the page's connect-src forbid it";
        return { failure: "closed", why };
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", cancel);
        underWay.delete(controller);
        // Aborts an incomplete response. A complete one is not affected.
        controller.abort();
      }
    },
    stop() {
      stopped = true;
      for (const controller of underWay) controller.abort();
    },
  };
}

async function answer(url, body, limit, signal) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    signal,
    // The endpoint learns neither cookies nor the referrer. Answers are never cached.
    credentials: "omit",
    referrerPolicy: "no-referrer",
    cache: "no-store",
    redirect: "error",
  });
  if (response.status === 429) throw new Failure("limited", "it limits requests (HTTP status 429)");
  if (!response.ok) throw new Failure("closed", `it answers with HTTP status ${response.status}`);
  return read(response.body, limit);
}

/** Returns the bytes of a stream. Fails if there are more than `limit`. */
async function read(stream, limit) {
  const chunks = [];
  let length = 0;
  const reader = stream?.getReader();
  for (;;) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done) break;
    length += value.length;
    if (length > limit) throw new Failure("too-long", `its answer is longer than ${limit} bytes`);
    chunks.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
