// Headless Chromium for tests and measurements: the executable at the path in CHROMIUM, or else
// /usr/bin/chromium.

import { chromium } from "playwright-core";

/**
 * Starts Chromium, lets `act` use it and closes it.
 *
 * @template T
 * @param {(browser: import("playwright-core").Browser) => Promise<T>} act
 * @returns {Promise<T>}
 */
export async function withChromium(act) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Root, in a container or in continuous integration, has no sandbox.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    return await act(browser);
  } finally {
    await browser.close();
  }
}

/**
 * Opens an address and collects all complaints of the page: console warnings and errors, uncaught
 * errors and rejections (which Chromium reports as errors), failed requests.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 */
export async function open(browser, url) {
  const complaints = [];
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.stack ?? error}`));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
