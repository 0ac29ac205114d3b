// Light, dark or as the system says; kept in this browser.
import { computed, signal } from "@preact/signals";

export type Choice = "auto" | "light" | "dark";

const KEY = "streamgauge-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const isSystemDark = signal(dark.matches);
dark.addEventListener("change", () => (isSystemDark.value = dark.matches));

export const themeChoice = signal<Choice>((document.documentElement.dataset["theme"] as Choice | undefined) ?? "auto");
export const theme = computed(() => {
  if (themeChoice.value !== "auto") return themeChoice.value;
  return isSystemDark.value ? "dark" : "light";
});

export function chooseTheme(choice: Choice): void {
  if (choice === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = choice;
  themeChoice.value = choice;
  try {
    if (choice === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // A browser that keeps nothing shows the choice until it is closed.
  }
}
