// A line with a round trip and a bandwidth, for measurements.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * Starts a proxy to a port that delays what it passes on. A connection costs a round trip before its
 * first byte, as with TCP. All connections of `line` share its bandwidth: `trip` is its round trip in
 * milliseconds, `rate` its bytes a second towards the page, `free` the time from which it is free, and
 * `bytes` counts what it carried. Resolves to the proxy's port and functions that cut the line, mend it,
 * and end it.
 */
export async function slow(port, line) {
  let isWhole = true;
  const open = new Set();
  const drop = () => open.forEach((socket) => socket.destroy());
  const server = createServer((near) => {
    if (!isWhole) return near.destroy();
    open.add(near);
    const far = connect(port, "127.0.0.1");
    const ends = [];
    const pass = (from, to, isDown) => {
      // Data arrives in order: never before what was sent earlier.
      let due = performance.now() + (isDown ? 0 : line.trip);
      const later = (act, bytes) => {
        const now = performance.now();
        if (isDown) {
          line.free = Math.max(line.free, now) + (1000 * bytes) / line.rate;
          line.bytes += bytes;
        }
        due = Math.max(due, (isDown ? line.free : now) + line.trip / 2);
        setTimeout(act, due - now);
      };
      from.setNoDelay(true);
      from.on("data", (data) => later(() => to.write(data), data.length));
      from.on("end", () => later(() => to.end(), 0));
      from.on("error", () => to.destroy());
      ends.push(from);
    };
    pass(near, far, false);
    pass(far, near, true);
    near.on("close", () => (open.delete(near), ends.forEach((end) => end.destroy())));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: server.address().port,
    cut: () => ((isWhole = false), drop()),
    mend: () => (isWhole = true),
    stop: () => new Promise((resolve) => (server.close(resolve), drop())),
  };
}
