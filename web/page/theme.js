// The state that must be known before the first paint: the chosen colours, and whether the address
// may cause a warning, which is placed above everything else. A classic script, since modules wait
// for the page.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("opp2p-theme");
  } catch {
    // Storage is forbidden here, so there is no stored choice.
  }
  if (/[?&](signer=|network=(\{|%7b))/i.test(location.search)) document.documentElement.dataset.link = "";
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
