// The choice between the system's colours, light and dark ones. theme.js applies it before the page
// is painted.

import { byId } from "./format.js";

const THEMES = ["system", "light", "dark"];
const chosen = () => document.documentElement.dataset.theme ?? "system";

/** Says which colours are chosen. */
export function nameTheme() {
  const name = chosen() === "system" ? "as the system" : chosen();
  byId("theme").setAttribute("aria-label", `Colours: ${name}`);
  byId("theme").title = `Colours: ${name}`;
}

/** Chooses the next colours. */
export function turnTheme() {
  const theme = THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length];
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("opp2p-theme");
    else localStorage.setItem("opp2p-theme", theme);
  } catch {
    // Storage is forbidden here: the choice lasts as long as the page.
  }
  nameTheme();
}
