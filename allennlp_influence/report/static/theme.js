// Light, dark, or as the system has it; the browser remembers.

import { byId } from "./dom.js";

/** Makes the page's choice of themes work. */
export function chooseTheme() {
  const theme = byId("theme");
  theme.addEventListener("change", () => {
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
    try {
      localStorage.setItem("theme", theme.value);
    } catch {} // where a page from the disk may keep nothing
  });
  try {
    theme.value = localStorage.getItem("theme") ?? "system";
  } catch {}
  theme.dispatchEvent(new Event("change"));
}
