"use strict";
// The button that changes between light and dark, on every page of evalkit.
(() => {
  const theme = document.getElementById("theme"), root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", "Use " + theme.textContent.toLowerCase() + " colours"); };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("evalkit-theme", root.dataset.theme); } catch (error) { theme.title = "This choice is not kept: " + error.name; }
    nameTheme();
  });
  systemDark.addEventListener("change", nameTheme);
  nameTheme();
})();
