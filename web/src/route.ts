// Which page is shown, and its settings: both stand in the address, behind `#`, so that a link shows what its sender saw.
import { computed, signal } from "@preact/signals";

export interface Route {
  page: string;
  params: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { page: path.replace(/\/+$/, ""), params: new URLSearchParams(query) };
}

export function formatRoute(page: string, params: URLSearchParams): string {
  const query = params.toString();
  return `#/${page}${query === "" ? "" : `?${query}`}`;
}

const hash = signal(typeof location === "undefined" ? "" : location.hash);
export const route = computed(() => parseRoute(hash.value));

if (typeof window !== "undefined") {
  window.addEventListener("hashchange", () => {
    hash.value = location.hash;
  });
}

export function param(name: string, fallback = ""): string {
  return route.value.params.get(name) ?? fallback;
}

/** Changes settings of the page; null removes one. Does not lengthen the browser's history. */
export function setParams(changes: Record<string, string | null>): void {
  const params = new URLSearchParams(route.peek().params);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) params.delete(name);
    else params.set(name, value);
  }
  history.replaceState(null, "", formatRoute(route.peek().page, params));
  hash.value = location.hash;
}

export function href(page: string, params: Record<string, string> = {}): string {
  return formatRoute(page, new URLSearchParams(params));
}
