// Firefox for the end-to-end tests, driven by WebDriver BiDi: as much of it as the tests need, with
// the names of Playwright, which drives Chromium. Playwright's own driver for Firefox needs commands
// that Firefox ESR does not have.

import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
// Node.js 20 has no WebSocket unless it is asked for one.
import bundle from "playwright-core/lib/utilsBundle";

/** Milliseconds for Firefox to start, and for it to answer a command. */
const PATIENCE = 120_000;
/** Milliseconds for Firefox to end after it was told to. */
const LAST_WORDS = 10_000;

/** Nothing is fetched that no test asks for, and nothing is asked of a user. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.aboutwelcome.enabled": false,
  "browser.backup.enabled": false,
  "browser.newtabpage.enabled": false,
  "browser.region.network.url": "",
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.enabled": false,
  "toolkit.telemetry.server": "",
};

/** The connection to Firefox: commands, their answers, and events by browsing context. */
class Session {
  #socket;
  #last = 0;
  #open = new Map();
  pages = new Map();

  static async open(url) {
    const session = new Session();
    session.#socket = new bundle.ws(url, { perMessageDeflate: false });
    session.#socket.on("message", (text) => session.#take(JSON.parse(text)));
    session.#socket.on("close", () => session.#end(new Error("Firefox has ended")));
    await once(session.#socket, "open");
    return session;
  }

  /** Sends a command. Resolves to its result. */
  send(method, params = {}) {
    const id = (this.#last += 1);
    const answer = new Promise((resolve, reject) => {
      const late = () => this.#settle(id, ({ reject }) => reject(new Error(`Firefox gives no answer to ${method}`)));
      this.#open.set(id, { resolve, reject, timer: setTimeout(late, PATIENCE) });
    });
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answer;
  }

  close() {
    this.#socket.close();
  }

  #take(message) {
    if (message.type === "event") return this.pages.get(message.params.source?.context)?.heard(message.params);
    this.#settle(message.id, ({ resolve, reject }) =>
      message.type === "success" ? resolve(message.result) : reject(new Error(`${message.error}: ${message.message}`)));
  }

  #settle(id, act) {
    const open = this.#open.get(id);
    if (!open) return;
    this.#open.delete(id);
    clearTimeout(open.timer);
    act(open);
  }

  #end(error) {
    for (const id of [...this.#open.keys()]) this.#settle(id, ({ reject }) => reject(error));
  }
}

/** A tab. */
class Page extends EventEmitter {
  #session;
  #context;

  constructor(session, context) {
    super();
    this.#session = session;
    this.#context = context;
    session.pages.set(context, this);
  }

  /**
   * Takes what Firefox logs: calls of `console`, and uncaught errors, which begin with their name. Its
   * own words, of sockets and of the policy, are of the same type.
   */
  heard({ type, method, text }) {
    if (type === "console") this.emit("console", { type: () => method, text: () => text });
    else if (/^(uncaught|[A-Za-z]*(Error|Exception)\b)/.test(text)) this.emit("pageerror", text);
  }

  async goto(url) {
    await this.#session.send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  /** Calls a function in the page with an argument. Both it and the result pass as JSON. */
  async evaluate(action, argument) {
    const { type, result, exceptionDetails } = await this.#session.send("script.callFunction", {
      functionDeclaration: `async (given) => JSON.stringify(await (${action})(JSON.parse(given)))`,
      arguments: [{ type: "string", value: JSON.stringify(argument ?? null) }],
      target: { context: this.#context },
      awaitPromise: true,
    });
    if (type === "exception") throw new Error(exceptionDetails.text);
    return result.type === "string" ? JSON.parse(result.value) : undefined;
  }

  /** Waits until a function in the page returns something true. */
  async waitForFunction(condition, argument, { timeout = 30_000, polling = 50 } = {}) {
    const due = performance.now() + timeout;
    while (!(await this.evaluate(condition, argument))) {
      if (performance.now() > due) throw new Error(`Timeout ${timeout}ms exceeded.`);
      await new Promise((resolve) => setTimeout(resolve, polling));
    }
  }

  async close() {
    await this.#session.send("browsingContext.close", { context: this.#context });
    this.#session.pages.delete(this.#context);
  }
}

/** Tabs with storage of their own. */
class Context {
  constructor(session, userContext) {
    this.session = session;
    this.userContext = userContext;
  }

  async newPage() {
    const { context } = await this.session.send("browsingContext.create", { type: "tab", userContext: this.userContext });
    return new Page(this.session, context);
  }

  close() {
    return this.session.send("browser.removeUserContext", { userContext: this.userContext });
  }
}

class Browser {
  constructor(session, end) {
    this.session = session;
    this.end = end;
  }

  async newContext() {
    const { userContext } = await this.session.send("browser.createUserContext");
    return new Context(this.session, userContext);
  }

  async newPage() {
    return (await this.newContext()).newPage();
  }

  close() {
    return this.end();
  }
}

/** Returns the URL at which Firefox listens, once it says so. */
async function listens(firefox) {
  const said = [];
  const late = setTimeout(() => firefox.kill("SIGKILL"), PATIENCE);
  try {
    for await (const text of createInterface({ input: firefox.stderr })) {
      const url = /^WebDriver BiDi listening on (ws:\S+)/.exec(text)?.[1];
      if (url) return url;
      said.push(text);
    }
  } finally {
    clearTimeout(late);
    firefox.stderr.resume();
  }
  throw new Error(`Firefox does not start: ${said.join("\n")}`);
}

/** Starts Firefox with a new profile, which is removed when it is closed. */
export async function launchFirefox(executable = process.env.FIREFOX ?? "/usr/bin/firefox-esr") {
  const profile = await mkdtemp(path.join(tmpdir(), "opp2p-firefox-"));
  const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
  await writeFile(path.join(profile, "user.js"), lines.join("\n"));
  const flags = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "about:blank"];
  // It does not run as root in the home of another user.
  const firefox = spawn(executable, flags, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: profile } });
  const ended = new Promise((resolve) => firefox.once("exit", resolve).once("error", resolve));
  const end = async () => {
    const late = setTimeout(() => firefox.kill("SIGKILL"), LAST_WORDS);
    await ended;
    clearTimeout(late);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const session = await Session.open(`${await listens(firefox)}/session`);
    await session.send("session.new", { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    await session.send("session.subscribe", { events: ["log.entryAdded"] });
    return new Browser(session, async () => {
      await session.send("browser.close").catch(() => {});
      session.close();
      await end();
    });
  } catch (error) {
    firefox.kill("SIGKILL");
    await end();
    throw error;
  }
}
