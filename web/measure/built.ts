// The page that was built last, in the place of that which is inside the binary.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { BrowserContext } from "playwright-core";

const DIST = resolve(import.meta.dirname, "../dist");
const TYPES: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
};

export async function withBuiltPage(context: BrowserContext): Promise<void> {
  await context.route(/\/(assets\/.*)?$/, (route) => {
    const { pathname } = new URL(route.request().url());
    const file = join(DIST, pathname === "/" ? "index.html" : pathname);
    if (!existsSync(file)) return route.continue();
    return route.fulfill({ body: readFileSync(file), contentType: TYPES[file.split(".").at(-1)!] ?? "text/plain" });
  });
}
