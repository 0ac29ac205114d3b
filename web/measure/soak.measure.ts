// A minute of each live page while events come in at full rate, beside an empty page as the control: what that one
// stutters, the machine does. Prints figures; asserts that the page was alive, and nothing about time.
import { spawn } from "node:child_process";
import { loadavg } from "node:os";
import { expect, it } from "vitest";
import { BINARY, open, Server, startBrowser, until } from "../browser/harness";
import { withBuiltPage } from "./built";
import { watch } from "./frames";

const RATE = Number(process.env["SOAK_RATE"] ?? 50_000);
const SECONDS = Number(process.env["SOAK_SECONDS"] ?? 60);
/** Pageviews have thousands of postcodes, so that most of the live stream's rows change every second. */
const STREAM = process.env["SOAK_STREAM"] ?? "events";
const PAGES = (process.env["SOAK_PAGES"] ?? "control,overview,pipeline,tail,explore").split(",");
/** Beside what is watched: until the load runs, and until what it sent is folded. */
const LEAD_SECONDS = 15;

it(`is watched for ${SECONDS} s at ${RATE} events/s`, { timeout: 3_600_000 }, async () => {
  const browser = await startBrowser();
  for (const name of PAGES) {
    const server = await Server.start();
    const duration = `${SECONDS + LEAD_SECONDS}s`;
    const load = spawn(
      BINARY,
      [
        "load",
        "--stream",
        STREAM,
        "--rate",
        String(RATE),
        "--batch",
        "500",
        "--duration",
        duration,
        "--json",
        "--url",
        server.url,
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    let told = "";
    load.stdout.on("data", (text: Buffer) => (told += text.toString()));
    const left = new Promise((gone) => load.once("exit", gone));
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    await withBuiltPage(context);
    const { page, faults } = await open(context, `${server.url}/#/`);
    const title = () => page.title();
    await until("it shows the rate", title, (text) => /^\d+(\.\d)?k\/s/.test(text));
    if (name === "control") await page.goto("about:blank");
    else await page.goto(`${server.url}/#/${name === "overview" ? "" : name}`);
    await page.waitForTimeout(3_000);
    const frames = await watch(page, SECONDS);
    if (name !== "control") expect(await title()).toMatch(/^\d+(\.\d)?k\/s/);
    await left;
    const { events_per_second, accepted } = JSON.parse(told) as { events_per_second: number; accepted: number };
    const load_average = Math.round(loadavg()[0]! * 10) / 10;
    console.log(
      JSON.stringify({
        page: name,
        ...frames,
        load: { events_per_second: Math.round(events_per_second), accepted },
        load_average,
      }),
    );
    expect(faults).toEqual([]);
    await context.close();
    await server.end();
  }
  await browser.close();
});
