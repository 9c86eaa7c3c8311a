// uPlot makes a number format for the browser's language as it loads. Some browsers name one that
// no format takes, such as "C" (WebKitGTK without a locale), and the import would fail.

try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en", configurable: true });
}
