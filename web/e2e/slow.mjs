// Emulates a line with a round-trip time and a bandwidth, for measurements.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * Starts a proxy to a port that delays the data. A connection takes a round trip before its first
 * byte, as with TCP. All connections share the bandwidth of `line`: `trip` is its round-trip time
 * in milliseconds, `rate` its bandwidth towards the page in bytes per second, `free` the time from
 * which it is idle, and `bytes` the number of bytes that it has carried. Resolves to the proxy's
 * port and to functions that cut, restore and stop the line.
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
      // Data arrives in the order of sending.
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
