// From the ready line of `serve --demo` to a chart that moves, in a browser that is already open.
import type { Page } from "playwright-core";
import { it } from "vitest";
import { open, Server, startBrowser, until } from "../browser/harness";
import { withBuiltPage } from "./built";

const ROUNDS = Number(process.env["READY_ROUNDS"] ?? 5);

/** The events that the first chart tells of; 0 while there is none. */
async function told(page: Page): Promise<number> {
  const summaries = await page.locator(".summary").allTextContents();
  return Number(/^([\d,]+) events in/.exec(summaries[0] ?? "")?.[1]?.replaceAll(",", "") ?? 0);
}

it("shows a chart that moves soon after the ready line", { timeout: 600_000 }, async () => {
  const browser = await startBrowser();
  for (let round = 0; round < ROUNDS; round += 1) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    await withBuiltPage(context);
    const server = await Server.start({ args: ["--demo"] });
    const began = performance.now();
    const since = () => Math.round(performance.now() - began);
    const { page } = await open(context, server.url);
    const opened_ms = since();
    const first = await until(
      "it shows events",
      () => told(page),
      (events) => events > 0,
    );
    const shown_ms = since();
    await until(
      "it moves",
      () => told(page),
      (events) => events > first,
    );
    console.log(JSON.stringify({ opened_ms, shown_ms, moves_ms: since() }));
    await context.close();
    await server.end();
  }
  await browser.close();
});
