// Builds the dashboard into dist/, each file also compressed, for the server to embed. Nothing is inlined: the page's
// content security policy allows scripts and styles of the server's own only.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

function filesUnder(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesUnder(path) : [path];
  });
}

/** Writes FILE.gz beside every file that shrinks. */
function compressed(folder: string): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const path of filesUnder(folder)) {
        const bytes = readFileSync(path);
        const packed = gzipSync(bytes, { level: 9 });
        if (packed.length < bytes.length) writeFileSync(`${path}.gz`, packed);
      }
    },
  };
}

const server = process.env["STREAMGAUGE_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: ["chrome123", "firefox128", "safari18"],
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  // `npm run dev` shows the sources as they are edited, with the answers of a server that runs.
  server: { proxy: { "/v1": server, "/events": server, "/api": server, "/readyz": server, "/docs": server } },
  plugins: [compressed("dist")],
});
