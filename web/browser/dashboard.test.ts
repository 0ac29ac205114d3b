// The dashboard as those who use it see it: what they send shows, also over a restart; windows close on screen; text of
// events stays text.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { canRun, open, Server, startBrowser, titled, until } from "./harness";
import { HOSTILE } from "./hostile";

const figure = (page: Page, name: string) => async () => {
  const text = await page
    .locator(".figure", { has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) })
    .locator(".value")
    .textContent();
  return Number((text ?? "").replaceAll(",", ""));
};
/** Windows of a minute that are final at their end, and decimals. */
const CONFIGURATION = `
[[stream]]
name = "events"
raw_table = { name = "events", keep = "7d" }
[[rollup]]
name = "kinds"
stream = "events"
window = "1m"
grace = "0s"
by = ["event_type", "country"]
  [[rollup.measure]]
  name = "n"
  fn = "count"
  [[rollup.measure]]
  name = "usd"
  fn = "sum"
  field = "amount"
  scale = 2
`;

describe.runIf(canRun())("the dashboard", () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Server | undefined;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await context?.close();
    await server?.end();
    server = undefined;
  });
  const show = async (path: string, options: Parameters<Browser["newContext"]>[0] = {}) => {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    return open(context, server!.url + path);
  };

  it("waits for the first event and says when it is there", async () => {
    server = await Server.start();
    const { page, faults } = await show("/");
    await page.getByText("Waiting for an event").waitFor();
    const command = await page.locator(".command").textContent();
    expect(command).toContain(`curl -X POST ${server.url}/v1/events `);
    await server.post("/v1/events", /-d '(.*)'/.exec(command!)![1]!);
    await page.getByText("1 received, 1 counted.").waitFor();
    await page.getByRole("button", { name: "To the overview" }).click();
    await until("it is counted", figure(page, "Counted"), (counted) => counted === 1);
    expect(faults).toEqual([]);
  });

  it("goes on by itself where the demo sends", async () => {
    server = await Server.start();
    const { page, faults } = await show("/");
    await page.getByText("Waiting for an event").waitFor();
    await page.getByRole("button", { name: "Or start the demo" }).click();
    await until("it counts", figure(page, "Counted"), (counted) => counted > 0);
    await page.getByRole("heading", { name: "Events per minute" }).waitFor();
    expect(faults).toEqual([]);
  });

  it("says what to do without scripts", async () => {
    server = await Server.start();
    const { page, faults } = await show("/", { javaScriptEnabled: false });
    expect(await page.locator("main").innerText()).toMatch(/^The dashboard needs scripts; the API does not/);
    expect((await page.goto(`${server.url}/favicon.ico`))?.status()).toBe(200);
    expect(faults).toEqual([]);
  });

  it("counts to N after N posts, and goes on over a restart without counting twice", async () => {
    const folder = mkdtempSync(join(tmpdir(), "streamgauge-web-"));
    server = await Server.start({ folder });
    const send = async (from: number, to: number) => {
      for (let number = from; number < to; number += 1)
        await server!.post("/v1/events", { event_type: "hit", event_id: `e-${number}` });
    };
    await send(0, 1);
    const { page } = await show("/?#/?rollup=hourly_aggregations&measure=event_count");
    await send(1, 25);
    await until("all are counted", figure(page, "Counted"), (counted) => counted === 25);
    await until(
      "the table says the same",
      () => page.locator("tbody td.number").first().textContent(),
      (text) => text === "25",
    );
    const summary = () => page.locator(".summary").first().textContent();
    await until("the chart says the same", summary, (text) => text?.startsWith("25 events") ?? false);
    await server.end();
    await page.getByText("No connection").waitFor();
    await titled(page, "No connection · Overview · Streamgauge");
    server = await Server.start({ folder, port: server.port });
    // Five of them were sent before: a client that had no answer sends again.
    await send(20, 40);
    await page.getByText("Healthy").waitFor();
    await until("the new ones are counted once", figure(page, "Counted"), (counted) => counted === 40);
    expect(await figure(page, "Duplicates")()).toBe(5);
    await until(
      "the table says the same",
      () => page.locator("tbody td.number").first().textContent(),
      (text) => text === "40",
    );
    await until("so does the chart", summary, (text) => text?.startsWith("40 events") ?? false);
    await server.end();
    rmSync(folder, { recursive: true, force: true });
  });

  it("shows a window close, and a correction after it", async () => {
    server = await Server.start({ config: CONFIGURATION });
    const at = (minute: number) => ({
      event_type: "buy",
      country: "NP",
      amount: "12.50",
      timestamp: `2025-01-01T00:0${minute}:10Z`,
    });
    await server.post("/v1/events?wait=true", at(0));
    const { page, faults } = await show("/#/pipeline");
    await page.getByText("kinds: 1 open, 0 in grace, 0 final").waitFor();
    await page.getByText("No files are written.").waitFor();
    await server.post("/v1/events?wait=true", at(5));
    await page.getByText("kinds: 1 open, 0 in grace, 1 final").waitFor();
    await server.post("/v1/events?wait=true", at(0));
    await page.goto(`${server.url}/#/?rollup=kinds`);
    await page
      .getByRole("group", { name: /Events of kinds/ })
      .getByText("Table")
      .click();
    const row = page.locator("tr", { hasText: "2025-01-01 00:00" });
    await until(
      "it is corrected",
      () => row.allInnerTexts(),
      (rows) => /\b2\b.*final.*1/.test(rows.join().replaceAll("\t", " ")),
    );
    expect(faults).toEqual([]);
  });

  it("says how far the files of the archive are", async () => {
    const folder = mkdtempSync(join(tmpdir(), "streamgauge-"));
    const rows = { waiting: 1_000, done: 1 };
    const archived = Object.entries(rows).map(
      ([name, count]) => `[[stream]]\nname = "${name}"\narchive = { rows = ${count}, age = "1h" }\n`,
    );
    const rollup =
      '[[rollup]]\nname = "kinds"\nstream = "done"\nwindow = "1m"\nby = ["event_type"]\n[[rollup.measure]]\nname = "n"\nfn = "count"\n';
    server = await Server.start({ config: `archive = "file:${folder}"\n${archived.join("")}${rollup}` });
    for (const stream of Object.keys(rows)) {
      await server.post(`/v1/events?stream=${stream}&wait=true`, { event_type: "buy" });
    }
    const { page, faults } = await show("/#/pipeline");
    for (const [name, state] of [
      ["waiting", "gathers"],
      ["done", "all in files"],
    ] as const) {
      await page
        .locator("tr", { hasText: `${name} · partition 0` })
        .getByText(state)
        .waitFor();
    }
    expect(faults).toEqual([]);
    await server.end();
    rmSync(folder, { recursive: true, force: true });
  });

  it("keeps every digit, and the address says what is shown", async () => {
    server = await Server.start({ config: CONFIGURATION });
    for (const amount of ["99999999999999999999.10", "0.05"]) {
      await server.post("/v1/events?wait=true", {
        event_type: "buy",
        country: "NP",
        amount,
        timestamp: "2025-01-01T00:00:10Z",
      });
    }
    const { page, faults } = await show(
      "/#/explore?rollup=kinds&from=2025-01-01T00:00:00Z&to=2025-01-01T00:10:00Z&tz=Asia/Kathmandu&measure=usd&d.country=NP",
    );
    await page.getByRole("cell", { name: "99,999,999,999,999,999,999.15", exact: true }).waitFor();
    await page.getByText("2025-01-01 05:45").first().waitFor();
    await page.locator(".uplot canvas").waitFor();
    await page.getByLabel("country").fill("nowhere");
    await page.getByLabel("country").press("Enter");
    await page.getByText("No rows in this range.").waitFor();
    expect(page.url()).toContain("d.country=nowhere");
    const csv = await page.getByRole("link", { name: "CSV" }).getAttribute("href");
    expect(await (await fetch(csv!.replace("nowhere", "NP"))).text()).toContain("99999999999999999999.15");
    await page.getByLabel("From").fill("yesterday");
    await page.getByLabel("From").press("Enter");
    await page.getByRole("alert").getByText("from is a time such as").waitFor();
    // The browser itself notes that the server refused.
    expect(faults.filter((fault) => !fault.includes("400"))).toEqual([]);
  });

  it("shows an event and its fate, and what is sent by hand", async () => {
    server = await Server.start();
    const { page, faults } = await show("/#/send?as=Web+analytics");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("Durable, and counted.").waitFor();
    await page.getByRole("link", { name: "What became of it" }).click();
    await page.locator(".verdict", { hasText: "Counted" }).waitFor();
    await page.locator(".event", { hasText: '{"path":"/home"}' }).waitFor();
    await page.getByLabel("event_type").fill("none");
    await page.getByLabel("event_type").press("Enter");
    await page.getByText("No events yet, or none that match.").waitFor();
    await page.goto(`${server.url}/#/send`);
    await page.getByRole("button", { name: "Start the demo" }).click();
    await page.getByText("It is sending.").waitFor();
    await page.getByRole("button", { name: "Stop the demo" }).click();
    await page.getByText("It is not sending.").waitFor();
    await page.getByLabel("Body").fill('{"sessionId":""}');
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("Nothing was taken.").waitFor();
    expect(faults.filter((fault) => !fault.includes("422"))).toEqual([]);
  });

  it("shows how late events were, and what grace would have caught them", async () => {
    server = await Server.start();
    for (const minute of ["30", "00", "01"]) {
      await server.post("/api/pageviews?wait=true", {
        user_id: 1,
        postcode: "SW19",
        webpage: "x",
        timestamp: `2025-01-01T00:${minute}:00Z`,
      });
    }
    const { page, faults } = await show("/#/late?range=all");
    const card = page.getByRole("article", { name: "pageview_aggregates" });
    await card.getByText("would have caught 99.9 %").waitFor();
    const row = page.getByRole("region", { name: "Late events by rollup" }).getByRole("row", { name: /^pageview/ });
    expect(await row.locator(".number").allTextContents()).toEqual(["2", "66.7 %", "1", "5 m"]);
    await card.getByText("Table").click();
    expect(
      await card
        .getByRole("row", { name: /over 7 d/ })
        .getByRole("cell")
        .last()
        .textContent(),
    ).toBe("2");
    expect(faults).toEqual([]);
  });

  it("says when something is wrong, in the server's words", async () => {
    server = await Server.start();
    await server.post("/v1/events", { event_type: "a" });
    context = await browser.newContext();
    const said = "partition 0 of events stands still: <b>why</b>";
    // What a server says whose partition stands still, put before the real stream goes on.
    await context.addInitScript((cause) => {
      const Real = window.EventSource;
      window.EventSource = class extends Real {
        override addEventListener(name: string, listener: never) {
          super.addEventListener(name, listener);
          if (name !== "health") return;
          const tell = listener as (event: MessageEvent) => void;
          super.addEventListener("reset", () =>
            setTimeout(() =>
              tell(new MessageEvent("health", { data: JSON.stringify({ state: "degraded", causes: [cause] }) })),
            ),
          );
        }
      } as typeof EventSource;
    }, said);
    const { page, faults } = await open(context, server.url);
    await page.getByText("Degraded").waitFor();
    await page.getByRole("alert").getByText(said).waitFor();
    await titled(page, "Degraded · Overview · Streamgauge");
    expect(faults).toEqual([]);
  });

  it("shows as much where there is much", async () => {
    const config = CONFIGURATION.replace('by = ["event_type", "country"]', 'by = ["user_id"]');
    server = await Server.start({ config });
    const now = Math.floor(Date.now() / 60_000) * 60_000;
    for (const minute of [2, 1, 0]) {
      const event = (user: string) => ({ event_type: "hit", user_id: user, timestamp: now - minute * 60_000 });
      const users = Array.from({ length: 2_500 }, (_, number) => event(`u${number}`));
      const heavy = Array.from({ length: 4 - minute }, () => event("heavy"));
      await server.post("/v1/events?wait=true", [...users, ...heavy]);
    }
    const { page, faults } = await show("/#/?rollup=kinds");
    await page.locator("tbody tr", { hasText: "heavy" }).waitFor();
    expect(await page.locator(".summary").first().textContent()).toContain("7,509 events in 30 m");
    const first = page.locator("tbody tr").first();
    expect(await first.locator("td").first().textContent()).toBe("heavy");
    expect(await first.locator("td.number").first().textContent()).toBe("9");
    expect(await first.locator(".spark .line").count()).toBe(1);
    await server.post("/v1/events?wait=true", { event_type: "hit", user_id: "heavy", timestamp: now });
    await until(
      "one more is seen",
      () => first.locator("td.number").first().textContent(),
      (text) => text === "10",
    );
    expect(await page.locator(".summary").first().textContent()).toContain("7,510 events");
    expect(faults).toEqual([]);
  });

  it("runs nothing that comes with an event", async () => {
    server = await Server.start({ config: CONFIGURATION });
    expect(HOSTILE.length).toBeGreaterThanOrEqual(40);
    const events = HOSTILE.map((text) => ({
      event_type: text,
      country: text,
      user_id: text,
      session_id: text,
      amount: 1,
      [text]: text,
    }));
    await server.post("/v1/events?wait=true", events.map((event) => JSON.stringify(event)).join("\n"));
    const { page, faults } = await show("/#/?rollup=kinds");
    await page.locator("tbody tr").nth(9).waitFor();
    for (const hash of [
      "#/explore?rollup=kinds",
      "#/pipeline",
      "#/late",
      "#/tail",
      "#/send",
      `#/explore?rollup=${encodeURIComponent(HOSTILE[0]!)}`,
      `#/${encodeURIComponent(HOSTILE[0]!)}`,
    ]) {
      await page.goto(`${server.url}/${hash}`);
      if (hash.includes("tail")) {
        await page.locator(".event").nth(39).waitFor();
        for (const index of [0, 20, 39]) await page.locator(".event").nth(index).click();
      }
      if (hash === "#/explore?rollup=kinds") await page.locator("tbody tr").nth(39).waitFor();
      await page.locator("main h1").waitFor();
    }
    await page.goto(`${server.url}/#/explore?rollup=kinds`);
    const shown = await until(
      "all are shown",
      () => page.getByRole("region", { name: "Rows of kinds" }).locator("tbody td:nth-child(2)").allTextContents(),
      (texts) => texts.length === HOSTILE.length,
    );
    expect(new Set(shown)).toEqual(new Set(HOSTILE));
    expect(await page.evaluate(() => (window as unknown as { ran?: unknown }).ran ?? null)).toBeNull();
    expect(await page.locator("main script, main iframe, main img, main object, main style").count()).toBe(0);
    expect(faults).toEqual([]);
  });
});
