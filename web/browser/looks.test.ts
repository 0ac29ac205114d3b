// Every page in both themes and three widths: nothing that keeps people out (axe), nothing wider than the screen, and a
// screenshot of each in test-output. Also what can be done with keys alone, and how large it all is.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { barriers, canRun, open, Server, shoot, startBrowser, until } from "./harness";

const DIST = resolve(import.meta.dirname, "../dist");
const SCRIPT_BYTES_MAX = 80 * 1024;
const STYLE_BYTES_MAX = 12 * 1024;
const PAGES = {
  overview: "",
  explore: "explore?rollup=hourly_aggregations",
  pipeline: "pipeline",
  late: "late?range=all",
  tail: "tail",
  send: "send",
};
const WIDTHS = [360, 1440, 1920];

it("is as small as it should be", () => {
  const assets = readdirSync(join(DIST, "assets"));
  const packed = (ending: string) =>
    assets
      .filter((name) => name.endsWith(ending))
      .reduce((sum, name) => sum + gzipSync(readFileSync(join(DIST, "assets", name))).length, 0);
  expect(packed(".js")).toBeLessThanOrEqual(SCRIPT_BYTES_MAX);
  expect(packed(".css")).toBeLessThanOrEqual(STYLE_BYTES_MAX);
  expect(packed(".js")).toBeGreaterThan(1_000);
  // The policy forbids what stands in the page itself.
  const page = readFileSync(join(DIST, "index.html"), "utf8");
  expect(page).not.toMatch(/<style|\sstyle=|<script(?![^>]*\ssrc=)|https?:/);
});

describe.runIf(canRun())("how it looks", () => {
  let browser: Browser;
  let server: Server;
  beforeAll(async () => {
    browser = await startBrowser();
    server = await Server.start({ args: ["--demo"] });
    server.run(
      "simulate",
      "--events",
      "3000",
      "--seed",
      "7",
      "--start",
      new Date(Date.now() - 2 * 3_600_000).toISOString().slice(0, 19) + "Z",
      "--late",
      "2%",
      "--duplicates",
      "2%",
    );
    const minutes = Array.from({ length: 28 }, (_, minute) => ({
      minute: 28 - minute,
      count: 20 + Math.round(30 * Math.abs(Math.sin(minute / 4))),
    }));
    const events = minutes.flatMap(({ minute, count }) =>
      Array.from({ length: count }, (_, index) => ({
        event_id: `${minute}-${index}`,
        ts: new Date(Date.now() - minute * 60_000).toISOString(),
        stream_id: `stream_${1 + (index % 3)}`,
        user_id: `u${index}`,
        ...(index % 7 === 0
          ? { event_type: "donation", amount_usd: "12.50" }
          : { event_type: index % 3 === 0 ? "viewer_join" : "chat_message" }),
      })),
    );
    await server.post("/v1/events?stream=stream.events&wait=true", events);
    for (const back of [30, 600, 28, 900, 420]) {
      await server.post("/api/pageviews?wait=true", {
        user_id: back,
        postcode: "SW19",
        webpage: "x",
        timestamp: Math.floor(Date.now() / 1000) - back,
      });
    }
  });
  afterAll(async () => {
    await browser?.close();
    await server?.end();
  });

  it.each(["light", "dark"] as const)("keeps nobody out, in %s", async (colorScheme) => {
    const context = await browser.newContext({
      colorScheme,
      viewport: { width: 1440, height: 900 },
      reducedMotion: "reduce",
    });
    const { page, faults } = await open(context, `${server.url}/#/`);
    await page.getByText("Healthy").waitFor();
    for (const [name, hash] of Object.entries(PAGES)) {
      await page.goto(`${server.url}/#/${hash}`);
      await until(
        `${name} has its numbers`,
        () => page.locator("main table, main .event, main textarea").count(),
        (count) => count > 0,
      );
      if (name === "tail") await page.locator(".event").nth(2).click();
      expect(await barriers(page), name).toEqual([]);
      await shoot(page, `${name}-${colorScheme}`, WIDTHS);
      await page.setViewportSize({ width: 1440, height: 900 });
    }
    expect(faults).toEqual([]);
    await context.close();
  });

  it.each(["light", "dark"] as const)("greets those who have nothing yet, in %s", async (colorScheme) => {
    const empty = await Server.start();
    const context = await browser.newContext({ colorScheme, reducedMotion: "reduce" });
    const { page, faults } = await open(context, empty.url);
    await page.getByText("Waiting for an event").waitFor();
    expect(await barriers(page)).toEqual([]);
    await shoot(page, `first-minute-${colorScheme}`, WIDTHS);
    expect(faults).toEqual([]);
    await context.close();
    await empty.end();
  });

  it("keeps the theme that was chosen", async () => {
    const context = await browser.newContext({ colorScheme: "light" });
    const { page } = await open(context, server.url);
    const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await back();
    await page.getByRole("button", { name: /Theme/ }).click();
    await page.getByRole("button", { name: "Theme: light" }).click();
    await until("it is dark", back, (color) => color !== light);
    const dark = await back();
    await page.reload();
    await page.getByRole("button", { name: "Theme: dark" }).waitFor();
    expect(await back()).toBe(dark);
    await context.close();
  });

  it("can be used with keys alone", async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const { page } = await open(context, `${server.url}/#/?rollup=stream_metrics_minute`);
    await page.locator("tbody tr").first().waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Skip to the page");
    await page.keyboard.press("Enter");
    const chart = page.getByRole("slider", { name: /Events of stream_metrics_minute/ });
    await until(
      "the chart has the focus",
      async () => {
        await page.keyboard.press("Tab");
        return chart.evaluate((element) => element === document.activeElement);
      },
      (has) => has,
    );
    await page.keyboard.press("End");
    const last = await chart.getAttribute("aria-valuetext");
    expect(last).toMatch(/^\d\d:\d\d–\d\d:\d\d: [\d,]+ events, open/);
    await page.keyboard.press("ArrowLeft");
    expect(await chart.getAttribute("aria-valuetext")).not.toBe(last);
    await page.keyboard.press("Escape");
    expect(await chart.getAttribute("aria-valuetext")).toMatch(/events in 30 m/);
    await page.goto(`${server.url}/#/pipeline`);
    await until("the heading has the focus", focused, (text) => text === "Pipeline");
    await page.getByRole("button", { name: "Flush now" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await until("the button of the dialog has the focus", focused, (text) => text === "Flush now");
    await page.keyboard.press("Enter");
    await page.getByText(/events in .* cells/).waitFor();
    await context.close();
  });

  it("stands still when it is told to", async () => {
    const context = await browser.newContext();
    const { page } = await open(context, `${server.url}/#/`);
    await page.getByText("Healthy").waitFor();
    const received = () => page.locator(".figures .value").first().textContent();
    await page.getByRole("button", { name: "Pause updates" }).click();
    const then = await received();
    const stats = await page.evaluate(
      () =>
        new Promise<number>((done) => {
          const source = new EventSource("/v1/stream");
          let seen = 0;
          source.addEventListener("stats", () => {
            seen += 1;
            if (seen === 3) {
              source.close();
              done(seen);
            }
          });
        }),
    );
    expect([stats, await received()]).toEqual([3, then]);
    await page.getByRole("button", { name: "Pause updates" }).click();
    await until("it goes on", received, (now) => now !== then);
    await context.close();
  });
});
