"use strict";
// Dark or light: what was chosen here before, else what the system says. Runs before the first paint.
(function () {
  const root = document.documentElement;
  const known = (() => { try { return localStorage.getItem("sightline-theme"); } catch { return null; } })();
  if (known === "dark" || known === "light") root.dataset.theme = known;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const isDark = getComputedStyle(root).colorScheme.trim() === "dark";
      root.dataset.theme = isDark ? "light" : "dark";
      try { localStorage.setItem("sightline-theme", root.dataset.theme); } catch { /* private windows keep nothing */ }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
