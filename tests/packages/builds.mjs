// node tests/packages/builds.mjs [--rounds N] [--blocks N] NAME=COMMAND...
//
// Compares builds of the node: time to start, memory, and processor time. Each COMMAND is a program
// with its first words, such as `static=target/dist/opp2p` or
// `jemalloc="env LD_PRELOAD=libjemalloc.so.2 target/dist/opp2p"`.
//
// Each build starts alone, a number of times. Then all of them follow one devnet at the same time,
// so each gets the same blocks. Everything is on loopback, in temporary folders, and ends with it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { freePort, pause } from "../../web/e2e/basics.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "10" },
    blocks: { type: "string", default: "1000" },
  },
});
const [ROUNDS, BLOCKS] = [Number(values.rounds), Number(values.blocks)];
const builds = positionals.map((text) => {
  const at = text.indexOf("=");
  return { name: text.slice(0, at), command: text.slice(at + 1).split(" ") };
});
assert.ok(
  builds.length > 0 && ROUNDS >= 1 && ROUNDS <= 100 && BLOCKS >= 10 && BLOCKS <= 20_000,
  "usage: node builds.mjs [--rounds 1..100] [--blocks 10..20000] NAME=COMMAND...",
);

/** Seconds between two blocks of the devnet. */
const INTERVAL = 0.05;
/** Milliseconds for a node to start, and for a block to come. */
const PATIENCE = 30_000;
/** Milliseconds in which a node settles after the last block. */
const SETTLE = 3_000;

const processes = new Set();

function run([program, ...first], parameters, stdout) {
  const child = spawn(program, [...first, ...parameters], { stdio: ["ignore", stdout, "inherit"] });
  processes.add(child);
  child.once("exit", () => processes.delete(child));
  return child;
}

async function stop(child, signal = "SIGTERM") {
  const ended = child.exitCode === null && child.signalCode === null && once(child, "exit");
  child.kill(signal);
  await ended;
}

/** Starts a devnet. Resolves with its process, and the flags of a node that joins it. */
async function devnet(folder, { command }) {
  const flags = ["--followers", "1", "--block-time", String(INTERVAL), "--no-web", "--json"];
  const child = run(command, ["devnet", "--print-config", "--data-dir", folder, ...flags], "pipe");
  child.stdout.setEncoding("utf8");
  let text = "";
  for await (const part of child.stdout.iterator({ destroyOnReturn: false })) {
    text += part;
    if (text.includes("\n")) break;
  }
  child.stdout.resume();
  const { signer, nodes } = JSON.parse(text.slice(0, text.indexOf("\n")));
  const chain = ["--rollup.config", path.join(folder, "rollup.json"), "--signer", signer];
  return { child, join: [...chain, "--p2p.static", nodes[0]] };
}

/** A node of one build. */
class Node {
  static async start(folder, build, join) {
    const node = new Node();
    const rpc = await freePort();
    node.url = `http://127.0.0.1:${rpc}`;
    const data = await mkdtemp(path.join(folder, "node-"));
    const places = ["--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0", "--data-dir", data];
    const others = ["--p2p.no-discovery", "--rpc.port", String(rpc), "--log.level", "error"];
    const begin = performance.now();
    node.child = run(build.command, ["node", ...join, ...places, ...others], "ignore");
    while ((await node.head()) === undefined) {
      assert.ok(node.child.exitCode === null, `${build.name} ended`);
      assert.ok(performance.now() - begin < PATIENCE, `${build.name} does not start`);
      await pause(1);
    }
    node.took = performance.now() - begin;
    return node;
  }

  /** Resolves with the head's number (0 without one), or `undefined` without an answer. */
  async head() {
    const body = '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}';
    const headers = { "content-type": "application/json" };
    try {
      const answer = await fetch(this.url, { method: "POST", headers, body });
      return Number((await answer.json()).result ?? 0);
    } catch {
      return undefined;
    }
  }

  /** Fields of the process's status, in megabytes. */
  async memory() {
    const status = await readFile(`/proc/${this.child.pid}/status`, "utf8");
    const field = (name) => (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1]) * 1024) / 1e6;
    return { resident: field("VmRSS"), own: field("RssAnon"), most: field("VmHWM") };
  }

  /** Processor time so far, in seconds. */
  async time() {
    const stat = await readFile(`/proc/${this.child.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Clock ticks, of which Linux has 100 a second.
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Starts each build alone, in turn. */
async function starts(folder) {
  for (const build of builds) Object.assign(build, { starts: [], fresh: [], ends: [] });
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const build of builds) {
      const node = await Node.start(folder, build, ["--network", "op-mainnet"]);
      build.starts.push(node.took);
      build.fresh.push((await node.memory()).resident);
      const begin = performance.now();
      await stop(node.child);
      build.ends.push(performance.now() - begin);
    }
  }
}

/** Lets all builds follow the devnet. */
async function follow(folder) {
  const chain = await devnet(path.join(folder, "devnet"), builds[0]);
  const nodes = await Promise.all(builds.map((build) => Node.start(folder, build, chain.join)));
  const first = (await nodes[0].head()) ?? 0;
  for (const node of nodes) {
    const deadline = performance.now() + BLOCKS * INTERVAL * 2000 + PATIENCE;
    while (((await node.head()) ?? 0) < first + BLOCKS) {
      assert.ok(performance.now() < deadline, "the blocks don't come in time");
      await pause(200);
    }
  }
  await stop(chain.child);
  await pause(SETTLE);
  for (const [at, node] of nodes.entries()) {
    Object.assign(builds[at], { memory: await node.memory(), time: await node.time() });
    builds[at].blocks = (await node.head()) - first;
  }
  await Promise.all(nodes.map((node) => stop(node.child)));
}

function table() {
  const titles = ["build", "start", "end", "memory then", `after ${BLOCKS} blocks`];
  titles.push("of it anonymous", "at most", "processor time per block");
  const rows = [titles, titles.map(() => "---")];
  for (const { name, starts, ends, fresh, memory, time, blocks } of builds) {
    const [start, end] = [starts, ends].map((times) => `${median(times).toFixed(0)} ms`);
    const sizes = [median(fresh), memory.resident, memory.own, memory.most];
    const each = `${((time / blocks) * 1000).toFixed(2)} ms`;
    rows.push([name, start, end, ...sizes.map((size) => `${size.toFixed(1)} MB`), each]);
  }
  return rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const folder = await mkdtemp(path.join(tmpdir(), "opp2p-builds-"));
try {
  await starts(folder);
  await follow(folder);
  console.log(table());
} finally {
  for (const child of processes) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
}
