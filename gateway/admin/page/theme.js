// before the first paint, so that nothing flashes
(() => {
  const kept = localStorage.getItem("spendgate-theme");
  const dark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
