// pebble, Let's Encrypt's test authority, and p2p-forge, the broker and DNS server of
// `libp2p.direct`, as processes on loopback. `cargo all-tests -- autotls-browser` builds both.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { connect } from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { freePort, pause } from "./basics.mjs";

const PROGRAMS = process.env.OPP2P_INTEROP;
/** Milliseconds for a program to listen. */
const PATIENCE = 60_000;

/** Returns whether a program listens on a port. */
const listens = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });

/** Runs a program of the set-up until it listens on these ports. */
async function running(name, parameters, options, ports) {
  assert.ok(PROGRAMS, "OPP2P_INTEROP names no folder: cargo all-tests -- autotls-browser");
  const stdio = ["ignore", "pipe", "pipe"];
  const child = spawn(path.join(PROGRAMS, name), parameters, { ...options, stdio });
  let said = "";
  const hear = (data) => (said = (said + data).slice(-20_000));
  for (const output of [child.stdout, child.stderr]) output.on("data", hear);
  const deadline = Date.now() + PATIENCE;
  for (const port of ports) {
    while (!(await listens(port))) {
      const runs = child.exitCode === null && Date.now() < deadline;
      if (!runs) child.kill("SIGKILL");
      assert.ok(runs, `${name} does not listen on ${port}: ${said}`);
      await pause(50);
    }
  }
  return { said: () => said, stop: () => child.kill("SIGKILL") };
}

/**
 * Starts the broker and DNS server of this domain. `resolve` asks the DNS server for the addresses
 * of a name.
 */
export async function forge(folder, domain) {
  const [dns, http] = [await freePort(), await freePort()];
  const zone = `$TTL 60
$ORIGIN ${domain}.
@ IN SOA ns.${domain}. a.${domain}. 1 60 60 60 60
@ IN NS ns.${domain}.
ns IN A 127.0.0.1
`;
  // The path is fixed in the program.
  await mkdir(path.join(folder, "zones"));
  await writeFile(path.join(folder, "zones", domain), zone);
  // In production, a proxy terminates TLS.
  const corefile = `${domain} {
 bind 127.0.0.1
 errors
 ipparser ${domain}
 file zones/${domain}
 acme ${domain} {
  registration-domain 127.0.0.1:${http} listen-address=127.0.0.1:${http} external-tls=true
  database-type badger data
 }
}
`;
  await writeFile(path.join(folder, "Corefile"), corefile);
  const flags = ["-conf", "Corefile", "-dns.port", String(dns)];
  const process = await running("p2p-forge", flags, { cwd: folder }, [http, dns]);
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dns}`]);
  return {
    ...process,
    dns: `127.0.0.1:${dns}`,
    broker: `http://127.0.0.1:${http}`,
    resolve: (name) => resolver.resolve4(name),
  };
}

/**
 * Starts an authority that resolves names with this DNS server. `ca` is the certificate of its
 * directory, and `root` that of the certificates it issues: both PEM files.
 */
export async function pebble(folder, dns) {
  const [ca, key, root] = ["ca.pem", "ca.key", "root.pem"].map((name) => path.join(folder, name));
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  // The directory shows this certificate itself, so it must not be one of an authority.
  const fields = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"];
  const subject = ["-subj", "/CN=pebble", ...fields.flatMap((field) => ["-addext", field])];
  const files = ["-nodes", "-days", "2", "-keyout", key, "-out", ca];
  await promisify(execFile)("openssl", ["req", "-x509", ...curve, ...subject, ...files]);
  const [port, management] = [await freePort(), await freePort()];
  const config = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: ca,
    privateKey: key,
    // No name is validated by a connection: a node's own name is validated by DNS.
    tlsPort: 1,
    httpPort: 1,
    keyAlgorithm: "ecdsa",
    retryAfter: { authz: 1, order: 1 },
    profiles: { default: { description: "short", validityPeriod: 3600 } },
  };
  const file = path.join(folder, "pebble.json");
  await writeFile(file, JSON.stringify({ pebble: config }));
  // Disables the random delay before each validation.
  const env = { ...globalThis.process.env, PEBBLE_VA_NOSLEEP: "1" };
  const flags = ["-config", file, "-dnsserver", dns];
  const process = await running("pebble", flags, { env }, [port, management]);
  const request = get(`https://127.0.0.1:${management}/roots/0`, { ca: await readFile(ca) });
  const [answer] = await once(request, "response");
  let pem = "";
  for await (const data of answer) pem += data;
  await writeFile(root, pem);
  return { ...process, directory: `https://127.0.0.1:${port}/dir`, ca, root };
}
