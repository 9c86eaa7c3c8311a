// Formats values as short text, and makes the elements that show them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** `1,234,567`; takes numbers and bigints. */
export function count(number) {
  return whole.format(number);
}

/** `1 block`, `2 blocks`. */
export function counted(number, one) {
  return `${count(number)} ${one}${number === 1 ? "" : "s"}`;
}

/** `783 B`, `31.2 kB`, `1.04 MB`, `2.31 GB`. */
export function bytes(number) {
  if (number < 1e3) return `${number} B`;
  if (number < 999_950) return `${(number / 1e3).toFixed(1)} kB`;
  if (number < 999.995e6) return `${(number / 1e6).toFixed(2)} MB`;
  return `${(number / 1e9).toFixed(2)} GB`;
}

/** Gas: `812 k`, `24.31 M`. */
export function gas(amount) {
  const number = Number(amount);
  if (number < 1e3) return String(number);
  if (number < 999_500) return `${(number / 1e3).toFixed(0)} k`;
  return `${(number / 1e6).toFixed(2)} M`;
}

/** A duration in milliseconds: `0.42 ms`, `812 ms`, `1.24 s`, `2 min 5 s`, `3 h 12 min`. */
export function duration(millis) {
  const sign = millis < 0 ? "−" : "";
  const size = Math.abs(millis);
  if (size < 9.995) return `${sign}${size.toFixed(2)} ms`;
  if (size < 999.5) return `${sign}${size.toFixed(0)} ms`;
  if (size < 59_950) return `${sign}${(size / 1e3).toFixed(size < 9_995 ? 2 : 1)} s`;
  const seconds = Math.round(size / 1e3);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${sign}${hours} h ${Math.floor(seconds / 60) % 60} min`;
  return `${sign}${count(Math.floor(hours / 24))} days`;
}

/**
 * An age that ticks, in milliseconds: always one decimal up to a minute, so that its width does not
 * change.
 */
export function age(millis) {
  if (millis < 0) return "0.0 s";
  return millis < 60_000 ? `${(millis / 1e3).toFixed(1)} s` : duration(millis);
}

/** An age in whole seconds, in milliseconds: `33 s`, `2 min 5 s`. */
export function seconds(millis) {
  return millis < 60_000 ? `${Math.floor(millis / 1e3)} s` : duration(Math.floor(millis / 1e3) * 1e3);
}

/** `0x1234…abcd`, from bytes in hexadecimal. */
export function shortHash(hash) {
  return hash.length > 14 ? `${hash.slice(0, 8)}…${hash.slice(-4)}` : hash;
}

/** The end of a peer id: the beginning is the same for all peers. */
export function shortPeer(id) {
  return id.length > 10 ? `…${id.slice(-8)}` : id;
}

/** `14:03:07` of this device. */
export function clock(millis) {
  return new Date(millis).toLocaleTimeString("en-GB");
}

/** `2026-01-31 14:03:07 UTC`, from seconds since 1970. */
export function utc(seconds) {
  const date = new Date(seconds * 1e3);
  return Number.isNaN(date.getTime()) ? String(seconds) : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Makes an element with a class, and texts or elements in it. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Sets a text only if it differs: an unchanged text costs no layout. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows what is below the live part or the form, once it is known which of them is shown. */
export function settle() {
  delete document.documentElement.dataset.link;
  byId("trust").hidden = false;
  byId("foot").hidden = false;
}
