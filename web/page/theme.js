// The colours that were chosen, before anything is painted: a classic script, since modules wait for the page.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("opp2p-theme");
  } catch {
    // Storage is forbidden here, so nothing was chosen.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
