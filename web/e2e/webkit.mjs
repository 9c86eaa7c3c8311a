// WebKitGTK for the end-to-end tests, driven by WebDriver: as much of it as the tests need, with the
// names of Playwright. It needs a display: that of GTK's broadway server, which shows it on no screen.
// Pages can be looked at, but no module can be imported into them, and their console is not heard.

import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort, pause } from "./basics.mjs";

/** Milliseconds for a program to start, and for it to end after it was told to. */
const PATIENCE = 60_000;
const LAST_WORDS = 5000;

/** Waits for something to be true, for a program that does not say when it has started. */
async function until(what, condition) {
  const due = performance.now() + PATIENCE;
  while (!(await condition())) {
    if (performance.now() > due) throw new Error(`${what} does not start`);
    await pause(50);
  }
}

/** A session of one window, over WebDriver. */
class Session {
  #url;

  static async open(driver) {
    const session = new Session();
    session.#url = driver;
    const { sessionId } = await session.send("session", { capabilities: {} });
    session.#url = `${driver}session/${sessionId}/`;
    return session;
  }

  async send(command, body, method = "POST") {
    const response = await fetch(this.#url + command, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }
}

/** The window, as a page that is opened and closed again and again. */
class Page extends EventEmitter {
  constructor(session) {
    super();
    this.session = session;
  }

  goto(url) {
    return this.session.send("url", { url });
  }

  /** Calls a function in the page with an argument. Both it and the result pass as JSON. */
  async evaluate(action, argument) {
    const script = `const done = arguments[1];
      Promise.resolve((${action})(JSON.parse(arguments[0]))).then(
        (value) => done(JSON.stringify({ value })), (error) => done(JSON.stringify({ failed: String(error) })));`;
    const { value, failed } = JSON.parse(await this.session.send("execute/async", { script, args: [JSON.stringify(argument ?? null)] }));
    if (failed !== undefined) throw new Error(failed);
    return value;
  }

  /** Waits until a function in the page returns something true. */
  async waitForFunction(condition, argument, { timeout = 30_000, polling = 50 } = {}) {
    const due = performance.now() + timeout;
    while (!(await this.evaluate(condition, argument))) {
      if (performance.now() > due) throw new Error(`Timeout ${timeout}ms exceeded.`);
      await pause(polling);
    }
  }

  close() {
    return this.goto("about:blank");
  }
}

/** Starts WebKitGTK. */
export async function launchWebKit(driver = process.env.WEBKIT ?? "/usr/bin/WebKitWebDriver") {
  // The display's socket is in this folder too, so its number is free.
  const folder = await mkdtemp(path.join(tmpdir(), "opp2p-webkit-"));
  // Without a language, WebKit names one that no number format knows.
  const env = { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder, LANG: "C.UTF-8", GDK_BACKEND: "broadway", BROADWAY_DISPLAY: ":0", WEBKIT_DISABLE_COMPOSITING_MODE: "1" };
  const started = [];
  const run = (program, ...flags) => {
    const child = spawn(program, flags, { env, stdio: ["ignore", "pipe", "ignore"] });
    const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
    started.push({ child, ended });
    let said = "";
    child.stdout.on("data", (data) => (said += data));
    return (words) => said.includes(words);
  };
  const end = async () => {
    for (const { child, ended } of started.reverse()) {
      child.kill();
      const late = setTimeout(() => child.kill("SIGKILL"), LAST_WORDS);
      await ended;
      clearTimeout(late);
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const says = run("broadwayd", "--unixsocket", path.join(folder, "page.socket"), ":0");
    await until("the display", () => says("Listening on"));
    const url = `http://127.0.0.1:${await freePort()}/`;
    run(driver, `--port=${new URL(url).port}`);
    await until("WebKitWebDriver", () => fetch(`${url}status`).then(({ ok }) => ok, () => false));
    const session = await Session.open(url);
    return {
      newPage: async () => new Page(session),
      close: async () => {
        await session.send("", undefined, "DELETE").catch(() => {});
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}
