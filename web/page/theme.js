// What has to be known before anything is painted: the chosen colours, and whether the address may
// bring a warning, which has its place above all else. A classic script, since modules wait for the
// page.
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
