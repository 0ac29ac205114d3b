// What is not as in the pictures: texts that are long or run from right to left, many rollups, streams with names of
// their own, a server that has hardly anything or goes away, a process that only answers, records that are gone.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { barriers, canRun, open, Server, shoot, startBrowser, until } from "./harness";

const LONG = "a-long-value-without-any-space-".repeat(8).slice(0, 240);
const RIGHT_TO_LEFT = "مرحبا بالعالم هذا نص طويل من اليمين إلى اليسار";
const WIDTHS = [360, 768, 1440];
const ROLLUPS = 12;

const rollup = (name: string, window: string) => `
[[rollup]]
name = "${name}"
stream = "orders"
window = "${window}"
grace = "0s"
by = ["customer", "region"]
  [[rollup.measure]]
  name = "orders"
  fn = "count"
`;
const OWN_NAMES = `
[[stream]]
name = "orders"
raw_table = { name = "orders", keep = "7d" }
[stream.fields]
event_type = "kind"
timestamp = "at"
event_id = "number"
user_id = "customer"
`;
const nameOf = (index: number) => `orders_by_customer_and_region_over_time_${index}`;
const MANY = OWN_NAMES + Array.from({ length: ROLLUPS }, (_, index) => rollup(nameOf(index), "1m")).join("");
const KINDS = `
[[stream]]
name = "events"
raw_table = { name = "events", keep = "7d" }
[[rollup]]
name = "kinds"
stream = "events"
window = "1m"
by = ["event_type"]
  [[rollup.measure]]
  name = "n"
  fn = "count"
`;

describe.runIf(canRun())("the dashboard in extremes", () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Server;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await context?.close();
    await server?.end();
  });

  const enter = async (width = 1280) => {
    context = await browser.newContext({ viewport: { width, height: 900 }, reducedMotion: "reduce" });
  };
  const show = async (path: string, width?: number) => {
    await enter(width);
    return open(context, server.url + path);
  };
  const figures = async (page: Page) =>
    Object.fromEntries(
      await page
        .locator(".figures .figure")
        .evaluateAll((all) =>
          all.map((figure) => [
            figure.querySelector("dt")!.textContent,
            Number(figure.querySelector(".value")!.textContent!.replaceAll(",", "")),
          ]),
        ),
    ) as Record<string, number>;

  /** Has the page believe that the server said something else of itself. */
  const retell = (said: object) =>
    context.addInitScript((more) => {
      type Told = Record<string, unknown>;
      const merge = (into: Told, from: Told): Told => {
        for (const [name, value] of Object.entries(from)) {
          const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
          into[name] = isObject ? merge(into[name] as Told, value as Told) : value;
        }
        return into;
      };
      const Real = window.EventSource;
      window.EventSource = class extends Real {
        override addEventListener(name: string, listener: never) {
          const tell = listener as (event: MessageEvent) => void;
          const part = name === "reset" ? (more as Told) : name === "stats" ? (more as Told)["stats"] : undefined;
          super.addEventListener(name, (event) => {
            if (!part) return tell(event as MessageEvent);
            const data = merge(JSON.parse((event as MessageEvent<string>).data) as Told, part as Told);
            tell(new MessageEvent(name, { data: JSON.stringify(data) }));
          });
        }
      } as typeof EventSource;
    }, said);

  it("shows what was deleted, and all adds up", async () => {
    server = await Server.start({ config: KINDS });
    const events = ["e-1", "e-2", "e-3", "e-3"].map((id) => ({ event_type: "a", event_id: id }));
    await server.post("/v1/events?wait=true", events);
    const { page, faults } = await show("/");
    const shown = await until(
      "all are counted",
      () => figures(page),
      ({ Counted }) => Counted === 3,
    );
    expect(Object.keys(shown)).toEqual(["Received", "Counted", "Duplicates", "Dead letters", "Waiting"]);
    server.run("events", "delete", "--where", "event_id = 'e-2'");
    const after = await until(
      "one is deleted",
      () => figures(page),
      ({ Counted }) => Counted === 2,
    );
    expect(after).toEqual({ Received: 4, Counted: 2, Duplicates: 1, "Dead letters": 0, Deleted: 1, Waiting: 0 });
    await page.goto(`${server.url}/#/tail?event=e-2`);
    await page.locator(".verdict", { hasText: /^Deleted$/ }).waitFor();
    await page.getByText(/^Deleted by hand 20.* UTC$/).waitFor();
    expect(faults).toEqual([]);
  });

  it("shows what the log has lost", async () => {
    server = await Server.start({ config: KINDS });
    await enter();
    await retell({ stats: { total: { received: 12, written: 7, skipped: 5 } } });
    const { page, faults } = await open(context, server.url);
    await page.getByText("lost by the log").waitFor();
    expect(await figures(page)).toMatchObject({ Received: 12, Counted: 7, Skipped: 5 });
    expect(faults).toEqual([]);
  });

  it("keeps long texts, and those from right to left, in their places", async () => {
    server = await Server.start({ config: MANY });
    const people = [LONG, RIGHT_TO_LEFT, "ada", ""];
    const orders = Array.from({ length: 120 }, (_, number) => ({
      kind: number % 5 === 0 ? LONG : "placed",
      number: `o-${number}`,
      at: new Date(Date.now() - (number % 30) * 60_000).toISOString(),
      customer: people[number % 4],
      region: [RIGHT_TO_LEFT, "eu", LONG][number % 3],
    }));
    await server.post("/v1/events?stream=orders&wait=true", orders);
    const { page, faults } = await show("/");
    for (const [name, hash, ready] of [
      ["overview", "", "main tbody tr"],
      ["explore", `explore?rollup=${nameOf(0)}`, ".uplot .u-label"],
      ["pipeline", "pipeline", ".timeline"],
      ["late", "late?range=all", "main tbody tr"],
      ["tail", "tail?event=o-0", ".fate .brief"],
    ] as const) {
      await page.goto(`${server.url}/#/${hash}`);
      await page.locator(ready).first().waitFor();
      expect(await barriers(page), name).toEqual([]);
      await shoot(page, `long-${name}`, WIDTHS);
      await page.setViewportSize({ width: 360, height: 900 });
      const heights = await page.locator("main tr, .fate p").evaluateAll((all) => all.map((row) => row.clientHeight));
      expect(Math.max(0, ...heights), name).toBeLessThan(160);
    }
    await page.goto(`${server.url}/#/?rollup=${nameOf(0)}`);
    const both = page.getByRole("link", { name: `\u2068${RIGHT_TO_LEFT}\u2069 · eu` }).locator("bdi");
    await both.waitFor();
    const runs = await both.evaluate((text) => [getComputedStyle(text).direction, getComputedStyle(text).textAlign]);
    expect(runs).toEqual(["ltr", "left"]);
    await page.goto(`${server.url}/#/pipeline`);
    const lines = page.locator(".timeline");
    await page.getByRole("button", { name: "4 more rollups" }).click();
    await until(
      "all are shown",
      () => lines.count(),
      (count) => count === ROLLUPS,
    );
    await page.getByRole("button", { name: "Only the first 8" }).click();
    await until(
      "some are shown",
      () => lines.count(),
      (count) => count === 8,
    );
    expect(faults).toEqual([]);
  });

  it("says which day, where a window is one", async () => {
    server = await Server.start({ config: OWN_NAMES + rollup("days", "1d") });
    const day = 86_400_000;
    const today = Math.floor(Date.now() / day) * day;
    const date = (ms: number) => new Date(ms).toISOString().slice(0, 10);
    await server.post("/v1/events?stream=orders&wait=true", { kind: "a", at: new Date(today).toISOString() });
    const { page, faults } = await show("/");
    await page.getByText(`1 event in 30 d, most at ${date(today)} 00:00: 1`).waitFor();
    const below = await page.locator(".bars g.bar text").allTextContents();
    expect(below.length).toBeGreaterThan(5);
    expect(below.filter((text) => !/^\d\d-\d\d$/.test(text))).toEqual([]);
    const chart = page.getByRole("slider");
    await chart.focus();
    await page.keyboard.press("End");
    expect(await chart.getAttribute("aria-valuetext")).toBe(
      `${date(today)} 00:00 – ${date(today + day)} 00:00: 1 event, open`,
    );
    await page.goto(`${server.url}/#/pipeline`);
    await page.locator(".timeline text", { hasText: date(today).slice(5) }).waitFor();
    expect(faults).toEqual([]);
  });

  it("asks for the first event as its stream has it", async () => {
    server = await Server.start({ config: OWN_NAMES + rollup("minutes", "1m") });
    const { page, faults } = await show("/");
    const command = page.locator(".command");
    await command.getByText(`curl -X POST '${server.url}/v1/events?stream=orders'`).waitFor();
    const body = /-d '(.*)'/.exec((await command.textContent())!)![1]!;
    expect(Object.keys(JSON.parse(body) as object)).toEqual(["kind", "at"]);
    await server.post("/v1/events?stream=orders", body);
    await page.getByText("1 received, 1 counted.").waitFor();
    expect(faults).toEqual([]);
  });

  it("says that a process which only answers takes no events", async () => {
    server = await Server.start({ config: KINDS });
    await enter();
    await retell({ server: { roles: ["query"] } });
    const { page, faults } = await open(context, server.url);
    await page.getByText("This process takes no events: it has the roles query.").waitFor();
    await page.locator(".command", { hasText: "http://INGEST_HOST:8080/v1/events" }).waitFor();
    await page.goto(`${server.url}/#/pipeline`);
    await page.getByText("in other processes: this one takes no events").waitFor();
    expect(faults).toEqual([]);
  });

  it("explores what is there after a single event", async () => {
    server = await Server.start({ config: KINDS });
    const timestamp = new Date().toISOString();
    const event = (id: number) => ({ event_type: "a", event_id: `e-${id}`, timestamp });
    await server.post("/v1/events?wait=true", event(0));
    const { page, faults } = await show("/#/explore?rollup=kinds");
    const count = () => page.locator("tbody td.number").first().textContent();
    await until("the first", count, (text) => text === "1");
    await server.post("/v1/events?wait=true", event(1));
    await until("the second", count, (text) => text === "2");
    expect(faults).toEqual([]);
  });

  it("explores nothing, and says of what", async () => {
    server = await Server.start({ config: KINDS });
    const { page, faults } = await show("/#/explore");
    await page.getByRole("button", { name: "Show all times" }).click();
    await page.getByText("No rows yet, or none that match.").waitFor();
    expect(await page.getByRole("button", { name: "Show all times" }).count()).toBe(0);
    await page.goto(`${server.url}/#/explore?rollup=gone`);
    await page.getByRole("alert").getByText("There is no rollup gone. This is kinds.").waitFor();
    expect(faults).toEqual([]);
  });

  it("forgets a fault that is over", async () => {
    const folder = mkdtempSync(join(tmpdir(), "streamgauge-web-"));
    server = await Server.start({ folder, config: KINDS });
    const { page } = await show("/#/send");
    await page.getByText("It is not sending.").waitFor();
    await server.end();
    const fault = page.locator(".fault");
    await fault.waitFor();
    server = await Server.start({ folder, config: KINDS, port: server.port });
    await page.getByText("Healthy").waitFor();
    await fault.waitFor({ state: "detached" });
    await server.end();
    rmSync(folder, { recursive: true, force: true });
  });

  it("tells what became of an event where one looks, and when it changes", async () => {
    server = await Server.start({ config: `[flush]\ninterval = "1h"\nmax_events = 1000000\n${KINDS}` });
    const events = Array.from({ length: 30 }, (_, number) => ({ event_type: "a", event_id: `e-${number}` }));
    await server.post("/v1/events", events);
    const { page, faults } = await show("/#/tail?event=e-0", 360);
    await page.locator(".verdict", { hasText: "On its way" }).waitFor();
    await server.post("/v1/flush", "");
    await page.locator(".verdict", { hasText: "Counted" }).waitFor();

    const line = page.locator(".event").nth(25);
    await line.focus();
    await page.keyboard.press("Enter");
    const fate = page.getByRole("region", { name: "What became of it" });
    await until(
      "it has the focus",
      () => fate.evaluate((panel) => panel === document.activeElement),
      (has) => has,
    );
    const top = await fate.evaluate((panel) => panel.getBoundingClientRect().top);
    expect(top).toBeGreaterThanOrEqual(0);
    expect(top).toBeLessThan(300);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await fate.waitFor({ state: "detached" });
    expect(await line.evaluate((button) => button === document.activeElement)).toBe(true);

    // A name that says what pressing does, and no state beside it that says the same turned round.
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    const goOn = page.getByRole("button", { name: "Go on", exact: true });
    expect(await goOn.getAttribute("aria-pressed")).toBeNull();
    await goOn.click();

    await page.goto(`${server.url}/#/tail?stream=nothing`);
    await page.getByRole("alert").getByText("nothing").waitFor();
    expect(await page.getByText("only what was counted is kept").count()).toBe(0);
    // The browser itself notes the refusals.
    expect(faults.filter((fault) => !fault.includes("404"))).toEqual([]);
  });
});
