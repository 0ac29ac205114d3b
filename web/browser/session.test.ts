// A server with keys: those who have none see where to sign in, and those whose key allows little see what it does not.
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { barriers, canRun, open, Server, shoot, startBrowser, titled, until } from "./harness";

const KEY = "sg_the-only-key";

describe.runIf(canRun())("signing in", () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Server;
  beforeAll(async () => {
    browser = await startBrowser();
    server = await Server.start();
    await server.post("/v1/events?wait=true", { event_type: "a" });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.end();
  });
  afterEach(() => context?.close());

  /** Stands between the page and the server, and lets through who has signed in. */
  async function guard(scopes: string[], isIn = false): Promise<{ addresses: string[]; forget: () => void }> {
    const addresses: string[] = [];
    let isSignedIn = isIn;
    let wasIn = false;
    const refuse = (code: string) => ({
      status: 401,
      contentType: "application/problem+json",
      body: JSON.stringify({ code, detail: "send a key" }),
    });
    await context.route("**/*", async (route) => {
      const request = route.request();
      const { pathname } = new URL(request.url());
      addresses.push(request.url());
      if (!pathname.startsWith("/v1/")) return route.fallback();
      if (pathname !== "/v1/session") return isSignedIn ? route.fallback() : route.fulfill(refuse("key_missing"));
      if (request.method() === "DELETE") isSignedIn = false;
      if (request.method() === "POST") {
        if ((JSON.parse(request.postData() ?? "{}") as { key?: string }).key !== KEY)
          return route.fulfill(refuse("key_unknown"));
        isSignedIn = true;
      }
      if (request.method() !== "GET") return route.fulfill({ status: 204 });
      if (isSignedIn) return route.fulfill({ json: { auth: "keys", scopes, session: true } });
      // Both say the same: who asks may do nothing.
      return route.fulfill(wasIn ? { json: { auth: "keys", scopes: [], session: true } } : refuse("key_missing"));
    });
    const forget = () => {
      isSignedIn = false;
      wasIn = true;
    };
    return { addresses, forget };
  }
  /** The browser itself notes each answer that refuses. */
  const real = (faults: string[]) => faults.filter((fault) => !fault.includes("401"));
  const field = (page: Page) => page.getByLabel("Key", { exact: true });

  it("asks for a key, says when it is wrong, and keeps it nowhere", async () => {
    context = await browser.newContext();
    const { addresses, forget } = await guard(["ingest", "query", "admin"]);
    const { page, faults } = await open(context, `${server.url}/#/pipeline`);
    await field(page).waitFor();
    await titled(page, "Sign in · Streamgauge");
    expect(await field(page).getAttribute("type")).toBe("password");
    expect(await field(page).getAttribute("autocomplete")).toBe("current-password");
    expect(await field(page).evaluate((input) => input === document.activeElement)).toBe(true);
    expect(await page.getByRole("navigation").count()).toBe(0);
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("Type or paste a key.").waitFor();
    await field(page).fill("sg_another");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("The server does not know this key.").waitFor();
    expect(await field(page).getAttribute("aria-invalid")).toBe("true");
    expect(await barriers(page)).toEqual([]);
    await shoot(page, "sign-in", [360, 1440]);
    await field(page).fill(KEY);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Flush now" }).waitFor();
    await page.getByText("Healthy").waitFor();
    expect(await page.getByRole("button", { name: "Flush now" }).isEnabled()).toBe(true);
    const kept = await page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
    );
    expect(kept).not.toContain(KEY);
    expect(addresses.filter((address) => address.includes(KEY))).toEqual([]);
    expect(await page.content()).not.toContain(KEY);

    // A key that is taken back while the page is open.
    forget();
    await page.goto(`${server.url}/#/late`);
    await field(page).waitFor();
    await field(page).fill(KEY);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Late events" }).waitFor();
    await page.getByText("Healthy").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await field(page).waitFor();
    expect(await field(page).inputValue()).toBe("");
    expect(real(faults)).toEqual([]);
  });

  it("signs in at a server with keys, follows it live, and signs out", async () => {
    const key = "a-key-of-this-test-that-is-long-enough-0123456789";
    const guarded = await Server.start({ env: { STREAMGAUGE_ADMIN_KEY: key } });
    try {
      const send = (type: string) =>
        fetch(`${guarded.url}/v1/events?wait=true`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}` },
          body: JSON.stringify({ event_type: type }),
        });
      expect((await fetch(`${guarded.url}/v1/status`)).status).toBe(401);
      expect((await send("before")).status).toBe(202);
      context = await browser.newContext();
      const { page, faults } = await open(context, `${guarded.url}/#/tail`);
      await field(page).fill("no-key-at-all-but-as-long-as-one-would-be-0123");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").getByText("The server does not know this key.").waitFor();
      await field(page).fill(key);
      await page.keyboard.press("Enter");
      await page.getByText("before").first().waitFor();
      expect((await send("after")).status).toBe(202);
      await page.getByText("after", { exact: true }).first().waitFor();
      const cookies = await context.cookies();
      expect(cookies.map((cookie) => [cookie.httpOnly, cookie.sameSite])).toEqual([[true, "Strict"]]);
      await page.reload();
      await page.getByText("after", { exact: true }).first().waitFor();
      await page.getByRole("button", { name: "Sign out" }).click();
      await field(page).waitFor();
      expect(await context.cookies()).toEqual([]);
      expect(real(faults)).toEqual([]);
    } finally {
      await guarded.end();
    }
  });

  it("says what a key that only asks cannot do", async () => {
    context = await browser.newContext();
    await guard(["query"], true);
    const { page, faults } = await open(context, `${server.url}/#/pipeline`);
    const isShut = async (name: string, reason: string) => {
      const button = page.getByRole("button", { name, exact: true });
      await button.waitFor();
      await until(
        `${name} is shut`,
        () => button.isDisabled(),
        (shut) => shut,
      );
      const told = await button.evaluate((element) => {
        const id = element.getAttribute("aria-describedby");
        return id ? document.getElementById(id)?.textContent : null;
      });
      expect(told).toBe(reason);
    };
    await isShut("Flush now", "Needs a key with the scope admin.");
    await page.goto(`${server.url}/#/send`);
    await isShut("Send", "Needs a key with the scope ingest.");
    await isShut("Start the demo", "Needs a key with the scope admin.");
    expect(await barriers(page)).toEqual([]);
    await shoot(page, "shut", [360, 1440]);
    const reasons = [{ stream: "events", reason: "bad_number", waiting: 2, replayed: 0, failed_replays: 0 }];
    await context.route("**/v1/dead-letters?*", (route) =>
      route.fulfill({ json: { data: [], next_cursor: null, reasons } }),
    );
    await page.goto(`${server.url}/#/late`);
    await isShut("Replay all 2… bad_number of events", "Needs a key with the scope admin.");
    expect(faults).toEqual([]);
  });

  it("lets a key that only sends do that, and nothing else", async () => {
    context = await browser.newContext();
    await guard(["ingest"], true);
    const { page, faults } = await open(context, server.url);
    await page.getByText("Needs a key with the scope query.").waitFor();
    await titled(page, "Overview · Streamgauge");
    await page.getByRole("link", { name: "Send" }).click();
    expect(await page.getByRole("button", { name: "Send", exact: true }).isEnabled()).toBe(true);
    expect(await page.getByRole("heading", { name: "Demo" }).count()).toBe(0);
    await page.getByRole("button", { name: "Sign out" }).click();
    await field(page).waitFor();
    expect(real(faults)).toEqual([]);
  });

  it("shows no door where there is none", async () => {
    context = await browser.newContext();
    const { page } = await open(context, `${server.url}/#/pipeline`);
    await page.getByText("Healthy").waitFor();
    expect(await page.getByRole("button", { name: "Sign out" }).count()).toBe(0);
    expect(await page.getByRole("button", { name: "Flush now" }).isEnabled()).toBe(true);
  });
});
