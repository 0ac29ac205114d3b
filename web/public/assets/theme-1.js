// Before the first paint: the theme that was chosen in this browser.
try {
  const chosen = localStorage.getItem("streamgauge-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {}
