// What every script that starts programs needs, without a browser.

import { once } from "node:events";
import { createServer } from "node:net";

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves to a port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
