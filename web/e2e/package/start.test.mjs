// Starting an observer: options, aborts, time limits and reasons of failures, with a worker of the
// test: `node --test web/e2e/package/start.test.mjs`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { ObserverError, inspect, observe } from "../../js/index.js";
import { ABOUT, MockWorker, OPTIONS, block, failure, payload, settles, started } from "./mock.mjs";

/** A worker whose script never answers. */
const mute = () => new MockWorker(() => {});

/** Checks that an error is one of the package's, with a sentence. */
function refused(error, code, says = /./) {
  assert.ok(error instanceof ObserverError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  assert.ok(error.message.length > 15, error.message);
}

test("an invalid signal is refused before anything starts", async () => {
  for (const signal of [new AbortController(), {}, true, "x", 7, () => {}]) {
    let made = 0;
    const worker = () => ((made += 1), new MockWorker());
    refused(
      await failure(observe({ ...OPTIONS, worker, signal })),
      "option",
      /`signal` of an AbortController/,
    );
    assert.equal(made, 0);
  }
  for (const signal of [null, undefined, new AbortController().signal]) {
    const { observer } = await started(observe, { signal });
    await observer.stop();
  }
});

test("an abort ends a start at once, with the signal's reason, and terminates the worker", async () => {
  const reason = new RangeError("the reader left");
  for (const [given, check] of [
    [reason, (error) => assert.equal(error, reason)],
    [undefined, (error) => assert.equal(error.name, "AbortError")],
  ]) {
    const control = new AbortController();
    const worker = mute();
    const failed = failure(observe({ ...OPTIONS, worker, signal: control.signal }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    control.abort(given);
    check(await settles(failed, "an aborted start"));
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(worker.terminated > 0);
    const before = mute();
    check(await failure(observe({ ...OPTIONS, worker: before, signal: AbortSignal.abort(given) })));
    assert.deepEqual([before.got.length, before.terminated], [0, 0], "it was not touched");
  }
});

test("a worker that is made after the abort is terminated", async () => {
  const control = new AbortController();
  let make;
  const worker = () => new Promise((resolve) => (make = resolve));
  const failed = failure(observe({ ...OPTIONS, worker, signal: control.signal }));
  await new Promise((resolve) => setTimeout(resolve));
  control.abort();
  assert.equal((await settles(failed, "an aborted start")).name, "AbortError");
  const late = new MockWorker();
  make(late);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(late.terminated > 0);
});

test("an abort after the start stops the observer", async () => {
  const control = new AbortController();
  const { worker, observer } = await started(observe, { signal: control.signal });
  control.abort();
  assert.ok(observer.stopped);
  await settles(observer.stop(), "stop()");
  assert.equal(worker.terminated, 1);
});

test("a start has a time limit", async () => {
  const worker = mute();
  refused(
    await settles(failure(observe({ ...OPTIONS, worker, startTimeout: 0.05 })), "a start"),
    "timeout",
    /0\.05 s/,
  );
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(worker.terminated > 0);
  for (const startTimeout of [0, -1, NaN, "10", null])
    refused(await failure(observe({ ...OPTIONS, worker: mute(), startTimeout })), "option");
  const { observer } = await started(observe, { startTimeout: Infinity });
  await observer.stop();
});

test("a node is stopped if no observer can be built on it", async () => {
  // The second listener is the observer's.
  let asked = 0;
  const signal = {
    aborted: false,
    addEventListener() {
      if ((asked += 1) === 2) throw new Error("no more listeners");
    },
    removeEventListener() {},
  };
  const worker = new MockWorker();
  assert.match(
    (await failure(observe({ ...OPTIONS, worker, signal }))).message,
    /no more listeners/,
  );
  assert.equal(worker.terminated, 1);
  asked = 1;
  const other = new MockWorker();
  assert.match(
    (await failure(observe({ ...OPTIONS, worker: other, signal }))).message,
    /no more listeners/,
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(other.terminated > 0);
});

test("the worker may be given: itself, by a function, or by its URL", async () => {
  const { worker, observer } = await started(observe);
  refused(await failure(observe({ ...OPTIONS, worker })), "option", /another observer/);
  assert.equal(worker.terminated, 0, "the first observer goes on");
  await observer.stop();
  for (const make of [() => new MockWorker(), async () => new MockWorker()]) {
    await (await observe({ ...OPTIONS, worker: make })).stop();
  }
  refused(await failure(observe({ ...OPTIONS, worker: () => ({}) })), "option", /no Worker/);
  refused(
    await failure(
      observe({
        ...OPTIONS,
        worker: () => {
          throw new Error("made wrong");
        },
      }),
    ),
    "worker",
    /made wrong/,
  );
  for (const wrong of [7, null, {}, Symbol("x")])
    refused(await failure(observe({ ...OPTIONS, worker: wrong })), "option");
  const made = [];
  globalThis.Worker = class extends MockWorker {
    constructor(url, options) {
      super();
      made.push([url, options.type]);
    }
  };
  try {
    for (const worker of ["https://site.example/w.js", new URL("https://site.example/w.js")])
      await (await observe({ ...OPTIONS, worker })).stop();
    assert.deepEqual(made, Array(2).fill(["https://site.example/w.js", "module"]));
    refused(await failure(observe({ ...OPTIONS, worker: "relative.js" })), "option", /URL/);
    await (await observe(OPTIONS)).stop();
    assert.match(made.at(-1)[0].href, /\/worker\.js$/);
  } finally {
    delete globalThis.Worker;
  }
});

test("without workers, `worker: true` explains the error", async () => {
  refused(await failure(observe({ ...OPTIONS, worker: true })), "worker", /Worker/);
});

test("a worker that can't be loaded: the message has its URL and what the server answers", async () => {
  const server = createServer((request, response) => {
    if (request.url === "/missing.js") response.writeHead(404).end();
    else response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const base = `http://127.0.0.1:${server.address().port}/`;
  globalThis.Worker = class extends MockWorker {
    constructor() {
      super((message, worker) => worker.fails(undefined));
    }
  };
  try {
    for (const [path, says] of [
      ["missing.js", /missing\.js is answered with HTTP status 404/],
      ["page", /\/page is answered with text\/html instead of JavaScript \(HTTP status 200\)/],
    ]) {
      const error = await failure(observe({ ...OPTIONS, worker: base + path }));
      refused(error, "worker", says);
      assert.doesNotMatch(error.message, /policy/, "nothing is blamed without a reason");
    }
  } finally {
    delete globalThis.Worker;
    server.close();
    server.closeAllConnections();
  }
});

test("a violation of the policy is named with its directive and URL", async () => {
  const document = new EventTarget();
  globalThis.document = document;
  try {
    for (const [violation, says] of [
      [
        { effectiveDirective: "worker-src", blockedURI: "https://site.example/worker.js" },
        /forbids https:\/\/site\.example\/worker\.js.*`worker-src/,
      ],
      [{ effectiveDirective: "worker-src", blockedURI: "blob" }, /`worker-src blob:`/],
      [
        { effectiveDirective: "trusted-types", blockedURI: "trusted-types-policy" },
        /`trusted-types opp2p`/,
      ],
    ]) {
      const worker = new MockWorker((message, worker) => {
        worker.fails(undefined);
        // Another's violation, and one that is only reported.
        for (const other of [
          { effectiveDirective: "img-src", blockedURI: "x" },
          { ...violation, disposition: "report" },
          violation,
        ]) {
          document.dispatchEvent(
            Object.assign(new Event("securitypolicyviolation"), {
              disposition: "enforce",
              ...other,
            }),
          );
        }
      });
      refused(await failure(observe({ ...OPTIONS, worker })), "worker", says);
    }
  } finally {
    delete globalThis.document;
  }
});

test("options reach the node in its form: any iterable of addresses, chains by id, texts without a mark", async () => {
  const asked = async (options) => {
    const { worker, observer } = await started(observe, options);
    await observer.stop();
    return worker.got[0].start.node;
  };
  const peers = ["/ip4/127.0.0.1/tcp/9/ws/p2p/x", "/ip4/127.0.0.1/tcp/8/ws/p2p/y"];
  const generated = function* () {
    yield* peers;
  };
  for (const given of [
    peers,
    new Set(peers),
    generated(),
    new Map(peers.map((peer) => [peer, 0])).keys(),
  ]) {
    assert.deepEqual((await asked({ peers: given })).peers, peers);
  }
  assert.deepEqual((await asked({ rpc: new Set(["https://rpc.example"]) })).rpc, [
    "https://rpc.example",
  ]);
  const endless = function* () {
    for (;;) yield peers[0];
  };
  assert.ok((await asked({ peers: endless() })).peers.length > 64, "the node refuses them");
  const rollup = { genesis: {}, l2_chain_id: 901, block_time: 2 };
  for (const [network, read] of [
    [10, "10"],
    [10n, "10"],
    ["base", "base"],
    ["\uFEFF{}", "{}"],
    [{ id: 10, name: "OP Mainnet", nativeCurrency: {} }, "10"],
    [rollup, JSON.stringify(rollup)],
    [{ id: 10, ...rollup }, JSON.stringify({ id: 10, ...rollup })],
  ]) {
    assert.equal((await asked({ network })).network, read);
  }
  const circle = { genesis: {} };
  circle.self = circle;
  for (const network of [{ genesis: {}, l2_chain_id: 10n }, circle])
    refused(await failure(observe({ ...OPTIONS, network })), "network", /JSON/);
  for (const wrong of [7, [7], new Set([null]), undefined])
    refused(await failure(observe({ ...OPTIONS, peers: wrong })), "address");
  assert.deepEqual(
    (({ onGap, maxGap }) => [onGap, maxGap])(await asked({ onGap: "skip", maxGap: 5 })),
    ["skip", 5],
  );
  refused(await failure(observe({ ...OPTIONS, onGap: "ignore" })), "option", /onGap/);
});

test("the module reaches the worker as bytes, as a module or as an absolute URL", async () => {
  const bytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const asked = async (wasm) => {
    const { worker, observer } = await started(observe, { wasm });
    await observer.stop();
    return worker.got[0].start.wasm;
  };
  assert.deepEqual(await asked(bytes), bytes);
  assert.equal(await asked(new URL("https://cdn.example/m.wasm")), "https://cdn.example/m.wasm");
  assert.ok((await asked(await WebAssembly.compile(bytes))) instanceof WebAssembly.Module);
  for (const type of ["application/wasm", "application/octet-stream"]) {
    const response = () => new Response(bytes, { headers: { "content-type": type } });
    assert.ok((await asked(response())) instanceof WebAssembly.Module);
    assert.ok((await asked(Promise.resolve(response()))) instanceof WebAssembly.Module);
  }
  const failed = (wasm) => failure(observe({ ...OPTIONS, worker: new MockWorker(), wasm }));
  refused(await failed(new Response("no", { status: 404 })), "webassembly", /HTTP status 404/);
  refused(
    await failed(new Response("<!doctype html>", { headers: { "content-type": "text/html" } })),
    "webassembly",
    /text\/html instead of WebAssembly/,
  );
  refused(await failed(Promise.reject(new Error("offline"))), "webassembly", /offline/);
  for (const wrong of [7, null, {}, ""]) refused(await failed(wrong), "option");
});

test("inspect() checks its arguments before anything is loaded", async () => {
  const message = new Uint8Array(9);
  for (const [given, code] of [
    [["base", 259, message, 1], "option"],
    [["base", 3.5, message, 1], "option"],
    [["base", "4", message, 1], "option"],
    [["base", 4, undefined, 1], "option"],
    [["base", 4, [1, 2], 1], "option"],
    [["base", 4, message], "option"],
    [["base", 4, message, "now"], "option"],
    [["base", 4, message, NaN], "option"],
    [["base", 4, message, 1, 7], "signer"],
    [[null, 4, message, 1], "network"],
  ]) {
    refused(await failure(inspect(...given)), code);
  }
});

test("a block is decoded by the node, and a stop ends the questions under way", async () => {
  const { worker, observer } = await started(observe);
  const blocks = [];
  observer.on("block", (detail) => blocks.push(detail));
  worker.tell(
    "block",
    { ...block(1), parentBeaconBlockRoot: "0x01" },
    payload([new Uint8Array([0x7e, 1])]),
  );
  worker.act = (message) => {
    if (message.stop) return worker.says({ stopped: true });
    const { id, what, given: block } = message.ask;
    assert.equal(what, "decode");
    assert.deepEqual([block[0], block[1].length, block[2]], [4, 566, "0x01"]);
    if (id === 1)
      worker.says({ answered: { id, value: { hash: "0x1", transactions: [{ type: "0x7e" }] } } });
    if (id === 2)
      worker.says({
        answered: { id, failed: { code: "option", message: "these bytes are not a payload" } },
      });
  };
  assert.equal((await observer.decode(blocks[0])).transactions[0].type, "0x7e");
  refused(await failure(observer.decode(blocks[0])), "option", /not a payload/);
  refused(await failure(observer.decode({})), "option");
  const third = failure(observer.decode(blocks[0]));
  await new Promise((resolve) => setTimeout(resolve));
  await observer.stop();
  refused(await settles(third, "decode()"), "stopped");
  refused(await failure(observer.decode(blocks[0])), "stopped");
  assert.equal(ABOUT.peerId, observer.peerId);
});
