// Buttons that copy a value.

import { byId, element, setText } from "../format.js";

/** Milliseconds for which a button says that it has copied. */
const SAID = 1500;

/** Makes a button copy what `value` answers. */
export function copies(button, value, what) {
  let timer = 0;
  button.addEventListener("click", async () => {
    const text = value();
    if (!text) return;
    const done = await copy(text);
    setText(button, done ? "Copied" : "Not allowed");
    setText(byId("said"), done ? `Copied ${what}` : `This browser does not let the page copy ${what}`);
    clearTimeout(timer);
    timer = setTimeout(() => setText(button, "Copy"), SAID);
  });
}

/** A value that can be copied: its text and a button. */
export function copyable(text, what) {
  const button = element("button", "copy", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${what}`);
  copies(button, () => text, what);
  return [element("code", "hash", text), button];
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return oldCopy(text);
  }
}

/** Pages that came over http have no clipboard, but may still copy what is selected. */
function oldCopy(text) {
  const area = element("textarea", "hidden");
  area.value = text;
  // Within an open dialog, since nothing outside of it can be selected.
  const before = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  area.remove();
  before?.focus({ preventScroll: true });
  return done;
}
