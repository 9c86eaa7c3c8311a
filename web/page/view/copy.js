// Buttons that copy a value.

import { byId, element, setText } from "../format.js";

/** Milliseconds for which a button shows that it has copied. */
const SAID = 1500;

/**
 * Makes a button copy the result of `value`. The button, or the part of it marked `data-said`, says
 * for a moment that it has copied.
 */
export function copies(button, value, what) {
  let timer = 0;
  const says = button.querySelector("[data-said]") ?? button;
  const name = says.textContent;
  button.addEventListener("click", async () => {
    const text = value();
    if (!text) return;
    const done = await copy(text);
    setText(says, done ? "Copied" : "Not allowed");
    setText(byId("said"), done ? `Copied ${what}` : `This browser does not let the page copy ${what}`);
    button.dataset.done = String(done);
    clearTimeout(timer);
    timer = setTimeout(() => {
      setText(says, name);
      delete button.dataset.done;
    }, SAID);
  });
}

/** Makes a value that can be copied: its text and a button. */
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

/** Copies through the selection: pages loaded over http have no clipboard. */
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
