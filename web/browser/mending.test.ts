// Dead letters are taken in again from the page: tried, mended, counted once, whoever asks how often.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { HOSTILE } from "./hostile";
import { barriers, canRun, open, Server, shoot, startBrowser, until } from "./harness";

const ORDERS = `
[[stream]]
name = "orders"
paths = ["/orders"]
[[rollup]]
name = "hourly"
stream = "orders"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [{ name = "n", fn = "count" }]
`;
/** Reads numbers, so that what is none becomes a dead letter behind a door that did not know of it. */
const REVENUE = `
[[rollup]]
name = "revenue"
stream = "orders"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [{ name = "total", fn = "sum", field = "amount", scale = 2 }]
`;
const ROWS = "/v1/rollups/revenue?from=2025-01-01T00:00:00Z&to=2025-01-02T00:00:00Z";

describe.runIf(canRun())("replay works", () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Server;
  let folder: string;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await context?.close();
    await server?.end();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Three orders whose amounts are no numbers but markup, beside one of 5, folded by a server that reads amounts. */
  async function poison(): Promise<void> {
    folder = mkdtempSync(join(tmpdir(), "streamgauge-web-"));
    server = await Server.start({ folder, config: `[flush]\ninterval = "120s"\n${ORDERS}` });
    const order = (id: number, amount: string) =>
      JSON.stringify({ id: `o-${id}`, type: "sale", user_id: "u", ts: 1735689600, amount });
    const bodies = [order(0, "5"), order(1, "much<b>"), order(2, HOSTILE[0]!), order(3, HOSTILE[1]!)];
    await server.post("/orders", bodies.join("\n"));
    await server.end();
    server = await Server.start({ folder, config: `${ORDERS}${REVENUE}` });
    await server.post("/v1/flush", "");
  }
  const total = async () => {
    const { data } = (await (await fetch(server.url + ROWS)).json()) as { data: { total: number }[] };
    return data.reduce((sum, row) => sum + row.total, 0);
  };
  const outcome = async (page: Page) => {
    const figures = page.getByRole("dialog").locator(".figure");
    const texts = await figures.evaluateAll((all) =>
      all.map((figure) => `${figure.querySelector("dt")?.textContent}: ${figure.querySelector("dd")?.textContent}`),
    );
    return texts.join(", ");
  };
  const says = (page: Page, words: string) =>
    until(
      words,
      () => outcome(page),
      (text) => text === words,
    );

  it("for one letter: a dry run, an edit, the replay, and another that changes nothing", async () => {
    await poison();
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const { page, faults } = await open(context, `${server.url}/#/late`);
    await page.getByText("3 waiting").waitFor();
    const letter = page.locator(".letter", { hasText: "0:1" });
    await letter.locator("summary").click();
    expect(await letter.locator("mark").textContent()).toBe('"amount":"much<b>"');
    expect(await page.locator("main b, main img, main script, main iframe").count()).toBe(0);
    await letter.getByRole("button", { name: "Replay… the letter 0:1 of orders" }).click();
    const dialog = page.getByRole("dialog", { name: "Replay the letter orders 0:1" });
    expect(await dialog.getByLabel("Field").inputValue()).toBe("amount");

    await dialog.getByRole("button", { name: "Dry run" }).click();
    await says(page, "would be accepted: 0, would be refused still: 1, already replayed: 0");
    await dialog.getByRole("cell", { name: "bad_number" }).waitFor();
    expect(await barriers(page)).toEqual([]);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await shoot(page, `replay-${colorScheme}`, [360, 1440]);
    }
    expect(await dialog.getByRole("button", { name: /^Replay/ }).count()).toBe(0);
    await dialog.getByLabel("New value").fill("2.50");
    expect(await outcome(page)).toBe("");
    await dialog.getByRole("button", { name: "Dry run" }).click();
    await says(page, "would be accepted: 1, would be refused still: 0, already replayed: 0");
    expect(await total()).toBe(5);
    await page.getByText("3 waiting").waitFor();

    // Somebody else is as far as this with the same letter.
    const other = await open(context, `${server.url}/#/late?reason=bad_number&letters_of=orders`);
    await other.page.locator(".letter", { hasText: "0:1" }).locator("summary").click();
    await other.page.getByRole("button", { name: "Replay… the letter 0:1 of orders" }).click();
    await other.page.getByLabel("New value").fill("99");
    await other.page.getByRole("button", { name: "Dry run" }).click();
    await says(other.page, "would be accepted: 1, would be refused still: 0, already replayed: 0");

    await dialog.getByRole("button", { name: "Replay 1 letter" }).click();
    await says(page, "accepted: 1, still refused: 0, already replayed: 0");
    await until("it is counted", total, (sum) => sum === 7.5);
    await page.getByText("2 waiting, 1 replayed").waitFor();
    expect(await letter.count()).toBe(0);

    await other.page.getByRole("button", { name: "Replay 1 letter" }).click();
    await says(other.page, "accepted: 0, still refused: 0, already replayed: 1");
    await dialog.getByRole("button", { name: "Dry run" }).click();
    await says(page, "would be accepted: 0, would be refused still: 0, already replayed: 1");
    expect(await dialog.getByRole("button", { name: /^Replay/ }).count()).toBe(0);
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await server.post("/v1/flush", "");
    expect(await total()).toBe(7.5);
    await page.getByRole("button", { name: "Replayed", exact: true }).click();
    await page.locator(".letter", { hasText: "0:1" }).locator("summary").click();
    await page.getByText(/^Replayed .* and counted\.$/).waitFor();
    expect([...faults, ...other.faults]).toEqual([]);
  });

  it("for all of a reason, with keys alone", async () => {
    await poison();
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const { page, faults } = await open(context, `${server.url}/#/late`);
    const all = page.getByRole("button", { name: "Replay all 3… bad_number of orders" });
    await all.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Replay 3 letters: bad_number of orders" });
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    expect(await all.evaluate((button) => button === document.activeElement)).toBe(true);

    await page.keyboard.press("Enter");
    await dialog.waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.closest("label")?.textContent ?? "");
    expect(await focused()).toContain("Field");
    await page.keyboard.press("Tab");
    await page.keyboard.type("null");
    expect(await focused()).toBe("New value: taken out");
    const press = async (name: string | RegExp) => {
      const button = dialog.getByRole("button", { name });
      await until(
        `${name} has the focus`,
        async () => {
          await page.keyboard.press("Tab");
          return button.evaluate((element) => element === document.activeElement);
        },
        (has) => has,
      );
      await page.keyboard.press("Enter");
    };
    await press("Dry run");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Dry run");
    await says(page, "would be accepted: 3, would be refused still: 0, already replayed: 0");
    await press("Replay 3 letters");
    await says(page, "accepted: 3, still refused: 0, already replayed: 0");
    // The button that was pressed is gone: what is left has the focus.
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Close");
    await page.keyboard.press("Enter");
    await page.getByText("0 waiting, 3 replayed").waitFor();
    expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-label"))).toBe("Reasons");
    await page.getByText("None of these waits any more.").waitFor();
    // They count as events, and add nothing to a sum.
    const hourly = ROWS.replace("revenue", "hourly");
    const { data } = (await (await fetch(server.url + hourly)).json()) as { data: { n: number }[] };
    expect(data.map(({ n }) => n)).toEqual([4]);
    expect(await total()).toBe(5);
    expect(faults).toEqual([]);
  });
});
