// The package's requests to JSON-RPC endpoints, against a server on loopback: `node --test
// web/e2e/page/rpc.test.mjs`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { poster } from "../../js/rpc.js";

const LIMIT = 1000;
const BODY = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "debug_getRawBlock", params: ["0x1"] });

let server, url;
/** Behaviour of the server for the next requests. */
let serves;
/** The requests that arrived. */
let asked;

before(async () => {
  server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    asked.push({ method: request.method, headers: request.headers, body, url: request.url });
    serves(response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  url = `http://127.0.0.1:${server.address().port}/v1/secret-key`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

function serving(act) {
  asked = [];
  serves = act;
}

test("the body is posted as JSON and the raw answer comes back", async () => {
  serving((response) => response.end("{\"result\":\"0x00\"}"));
  const answer = await poster().post(url, BODY, LIMIT);
  assert.equal(new TextDecoder().decode(answer), "{\"result\":\"0x00\"}");
  const [request] = asked;
  assert.deepEqual([request.method, request.body, request.url], ["POST", BODY, "/v1/secret-key"]);
  assert.equal(request.headers["content-type"], "application/json");
  assert.deepEqual([request.headers.cookie, request.headers.referer], [undefined, undefined]);
});

test("an answer may have as many bytes as its limit, and none more", async () => {
  serving((response) => response.end("x".repeat(LIMIT)));
  assert.equal((await poster().post(url, BODY, LIMIT)).length, LIMIT);
  serving((response) => response.end("x".repeat(LIMIT + 1)));
  assert.equal((await poster().post(url, BODY, LIMIT)).failure, "too-long");
  serving((response) => response.end());
  assert.deepEqual(await poster().post(url, BODY, LIMIT), new Uint8Array(0));
});

test("an answer without end is cut off at its limit", async () => {
  let closed;
  serving((response) => {
    closed = once(response, "close");
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(500)));
    };
    response.on("drain", more);
    more();
  });
  assert.equal((await poster().post(url, BODY, LIMIT)).failure, "too-long");
  await closed;
});

test("an answer that does not arrive or end in time is a timeout", async () => {
  for (const begin of [() => {}, (response) => response.write("{")]) {
    let closed;
    serving((response) => {
      closed = once(response, "close");
      begin(response);
    });
    assert.equal((await poster(300).post(url, BODY, LIMIT)).failure, "timeout");
    await closed;
  }
});

test("each failure has the node's name for it, and its words never have the URL", async () => {
  const failed = async (to, act) => {
    serving(act);
    const { failure, why } = await poster().post(to, BODY, LIMIT);
    assert.ok(why.length > 10 && !why.includes("secret-key"), why);
    return failure;
  };
  const status = (code, headers) => (response) => response.writeHead(code, headers).end("no");
  assert.equal(await failed(url, status(429)), "limited");
  assert.equal(await failed(url, status(403)), "closed");
  assert.equal(await failed(url, status(500)), "closed");
  assert.equal(await failed(url, status(307, { location: "/elsewhere" })), "closed");
  assert.equal(asked.length, 1, "a redirect is not followed");
  assert.equal(await failed(url, (response) => response.destroy()), "closed");
  assert.equal(await failed("http://127.0.0.1:9/secret-key", () => {}), "closed");
  assert.equal(await failed("http://[/secret-key", () => {}), "closed");
});

test("a stopping node ends requests under way and makes no more", async () => {
  let came;
  const arrived = new Promise((resolve) => (came = resolve));
  serving(came);
  const { post, stop } = poster();
  const answer = post(url, BODY, LIMIT);
  await arrived;
  stop();
  assert.equal((await answer).failure, "closed");
  assert.equal((await post(url, BODY, LIMIT)).failure, "closed");
  assert.equal(asked.length, 1);
});

test("a cancelled request ends at once, on the server too, and leaves the others alone", async () => {
  let closed;
  const ended = new Promise((resolve) => (closed = resolve));
  let waiting;
  serving((response) => {
    if (waiting) return response.end("{}");
    waiting = response;
    response.on("close", closed);
  });
  const { post } = poster();
  const control = new AbortController();
  const cancelled = post(url, BODY, LIMIT, control.signal);
  while (!waiting) await new Promise((resolve) => setTimeout(resolve, 5));
  const other = post(url, BODY, LIMIT, new AbortController().signal);
  control.abort();
  assert.deepEqual(await cancelled, { failure: "closed", why: "the request was cancelled" });
  await ended;
  assert.equal(new TextDecoder().decode(await other), "{}");
  const before = asked.length;
  assert.equal((await post(url, BODY, LIMIT, control.signal)).failure, "closed");
  assert.equal(asked.length, before, "it is not sent");
});
