// What is not as in the pictures: records that are gone.
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { canRun, open, Server, startBrowser, until } from "./harness";

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
});
