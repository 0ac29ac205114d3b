// The real binary and a real browser: started on free ports and folders of their own, ended with the tests.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { AxeResults } from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const ROOT = resolve(import.meta.dirname, "../..");
export const BINARY = process.env["STREAMGAUGE_BINARY"] ?? join(ROOT, "target/debug/streamgauge");
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/** Screenshots and the like; not in the repository. */
export const OUTPUT = resolve(import.meta.dirname, "../test-output");
/** Longer than anything should take that a test waits for, on a busy machine. */
export const PATIENCE_MS = 30_000;

export const browserPath = [process.env["STREAMGAUGE_BROWSER"] ?? "", ...BROWSERS].find(
  (path) => path !== "" && existsSync(path),
);

/** Whether the tests can run. Without a browser they are skipped with a line, but not where everything must run. */
export function canRun(): boolean {
  const missing = !browserPath
    ? "no Chromium was found"
    : !existsSync(BINARY)
      ? `there is no ${BINARY}: build it first`
      : "";
  if (missing === "") return true;
  if (process.env["CI"] === "true") throw new Error(`${missing}, and CI skips nothing`);
  console.error(`skipped: ${missing}`);
  return false;
}

export class Server {
  private constructor(
    readonly url: string,
    readonly folder: string,
    private readonly child: ChildProcess,
    private readonly isOwnFolder: boolean,
  ) {}

  static async start(
    options: {
      args?: string[];
      folder?: string;
      port?: number;
      config?: string;
      env?: Record<string, string>;
    } = {},
  ): Promise<Server> {
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), "streamgauge-web-"));
    const args = [
      "serve",
      "--listen",
      `127.0.0.1:${options.port ?? 0}`,
      "--data-dir",
      join(folder, "data"),
      ...(options.args ?? []),
    ];
    if (options.config !== undefined) {
      writeFileSync(join(folder, "test.toml"), options.config);
      args.push("--config", join(folder, "test.toml"));
    }
    const child = spawn(BINARY, args, {
      cwd: folder,
      env: { PATH: process.env["PATH"] ?? "", ...options.env },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const line = await new Promise<string>((found, lost) => {
      createInterface(child.stdout!).once("line", found);
      child.once("exit", (code) => lost(new Error(`the server left with ${code}`)));
    });
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (!url) throw new Error(`no address in ${line}`);
    return new Server(url, folder, child, options.folder === undefined);
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = new Promise((left) => this.child.once("exit", left));
      this.child.kill(signal);
      await gone;
    }
    if (this.isOwnFolder) rmSync(this.folder, { recursive: true, force: true });
  }

  async post(path: string, body: unknown): Promise<Response> {
    const answer = await fetch(this.url + path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  /** Runs a command of the binary against this server. */
  run(...args: string[]): void {
    execFileSync(BINARY, [...args, "--url", this.url], { cwd: this.folder, stdio: "ignore" });
  }
}

export async function startBrowser(): Promise<Browser> {
  mkdirSync(OUTPUT, { recursive: true });
  const args = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ];
  return chromium.launch({ executablePath: browserPath!, args });
}

/** A page that notes everything it should not have: errors, refused contents, requests to elsewhere, dialogs. */
export async function open(context: BrowserContext, url: string): Promise<{ page: Page; faults: string[] }> {
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`dialog ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL(url).origin)) faults.push(`asked ${request.url()}`);
  });
  await page.goto(url);
  return { page, faults };
}

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What of a page keeps people out. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(readFileSync(AXE, "utf8"));
  const { violations } = (await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: (options: object) => Promise<AxeResults> } };
    return axe.run({
      resultTypes: ["violations"],
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
  })) as AxeResults;
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}

/** A screenshot in each of the widths; none of them scrolls sideways. */
export async function shoot(page: Page, name: string, widths: number[]): Promise<void> {
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 });
    await until(
      `${name} fits ${width}`,
      () => page.evaluate(() => document.documentElement.scrollWidth),
      (wide) => wide <= width,
    );
    await page.screenshot({ path: join(OUTPUT, `${name}-${width}.png`), fullPage: true });
  }
}

/** Waits until the page has this title: it follows what is drawn. */
export async function titled(page: Page, title: string): Promise<void> {
  await until(
    title,
    () => page.title(),
    (seen) => seen === title,
  );
}

/** Waits until a condition holds; says what was last seen when it does not. */
export async function until<Seen>(
  what: string,
  look: () => Promise<Seen>,
  holds: (seen: Seen) => boolean,
): Promise<Seen> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}; last seen: ${JSON.stringify(seen)}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}
