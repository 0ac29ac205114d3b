// The frame of every page: where one can go, how the server is, and how the page looks.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary, useRef } from "preact/hooks";
import * as format from "./format";
import { isLocked } from "./api";
import { type Connection, connection, isPaused, live, togglePause } from "./live/feed";
import { Explore } from "./pages/explore";
import { Late } from "./pages/late";
import { Overview } from "./pages/overview";
import { Pipeline } from "./pages/pipeline";
import { Send } from "./pages/send";
import { SignIn } from "./pages/sign-in";
import { Tail } from "./pages/tail";
import { href, route } from "./route";
import { canLook, lacking, session, signOut } from "./session";
import type { Health } from "./live/state";
import { type Choice, chooseTheme, themeChoice } from "./ui/theme";

const PAGES = [
  { path: "", name: "Overview", Page: Overview },
  { path: "explore", name: "Explore", Page: Explore },
  { path: "pipeline", name: "Pipeline", Page: Pipeline },
  { path: "late", name: "Late", Page: Late },
  { path: "tail", name: "Tail", Page: Tail },
  { path: "send", name: "Send", Page: Send },
];

export function App() {
  const page = PAGES.find(({ path }) => path === route.value.page);
  const locked = isLocked.value;
  const isLive = !locked && canLook(session.value);
  return (
    <>
      <a class="skip" href="#main" onClick={toMain}>
        Skip to the page
      </a>
      <header class="bar">
        <a class="mark" href={href("")}>
          <Mark /> <span class="mark-name">Streamgauge</span>
        </a>
        {!locked && <Pages />}
        <div class="bar-end">
          {isLive && <HealthPill />}
          {isLive && <Pause />}
          <ThemeButton />
          {!locked && session.value?.session && <SignOut />}
        </div>
      </header>
      {isLive && <Trouble />}
      <main class="page" id="main" tabIndex={-1}>
        <Title name={locked ? "Sign in" : (page?.name ?? "Not found")} />
        {locked ? (
          <SignIn />
        ) : !isLive && page?.path !== "send" ? (
          <p class="empty">{lacking(session.value, "query")}</p>
        ) : page ? (
          <Guarded key={page.path}>
            <page.Page />
          </Guarded>
        ) : (
          <p>
            There is no page {route.value.page}. <a href={href("")}>To the overview</a>
          </p>
        )}
      </main>
      {isLive && <Foot />}
    </>
  );
}

function Pages() {
  const current = route.value.page;
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen not all fit: the one that is shown is in sight.
    const link = place.current?.querySelector<HTMLElement>("[aria-current]");
    if (place.current && link)
      place.current.scrollLeft = link.offsetLeft - (place.current.clientWidth - link.offsetWidth) / 2;
  }, [current]);
  return (
    <nav aria-label="Pages" ref={place}>
      {PAGES.map(({ path, name }) => (
        <a key={path} href={href(path)} aria-current={path === current ? "page" : undefined}>
          {name}
        </a>
      ))}
    </nav>
  );
}

/** A page that fails says so, and the others go on. */
function Guarded({ children }: { children: ComponentChildren }) {
  const [failure, retry] = useErrorBoundary();
  if (!failure) return <>{children}</>;
  return (
    <p class="fault" role="alert">
      This page failed: {String(failure)}.{" "}
      <button type="button" class="link" onClick={retry}>
        Show it again
      </button>
    </p>
  );
}

function toMain(event: Event): void {
  // `#main` would be a route.
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** The heading takes the focus when the page changes, so that a reader hears where it is. */
function Title({ name }: { name: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const known = useRef(name);
  const state = isLocked.value || !canLook(session.value) ? "" : stateInTitle();
  useEffect(() => {
    document.title = `${state === "" ? "" : `${state} · `}${name} · Streamgauge`;
  }, [state, name]);
  useEffect(() => {
    if (known.current !== name) heading.current?.focus();
    known.current = name;
  }, [name]);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {name}
    </h1>
  );
}

/** What one wants to know of a page that lies behind others. */
function stateInTitle(): string {
  const state = standing();
  if (state !== "ok") return STANDINGS[state];
  if (isPaused.value) return "Paused";
  const rate = live.value?.stats.total.received_per_second;
  return rate === null || rate === undefined ? "" : `${format.rate(rate)}/s`;
}

function Mark() {
  return (
    <svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true" class="mark-sign">
      <path d="M5 2v18M5 4h5M5 8.5h3M5 13h5M5 17.5h3" class="staff" />
      <path d="M12 12.5c1.8-2 3.2 2 5 0s2.4-.6 3-.4V20h-8z" class="water" />
    </svg>
  );
}

type Standing = Health["state"] | Exclude<Connection, "live">;

const STANDINGS: Record<Standing, string> = {
  ok: "Healthy",
  degraded: "Degraded",
  down: "Down",
  connecting: "Connecting",
  lost: "No connection",
};

function standing(): Standing {
  return connection.value === "live" ? (live.value?.health.state ?? "connecting") : connection.value;
}

function HealthPill() {
  const state = standing();
  return (
    <span class={`pill ${state}`} role="status">
      <i aria-hidden="true" />
      {STANDINGS[state]}
    </span>
  );
}

/** What is wrong, in the server's words. */
function Trouble() {
  if (connection.value === "lost") {
    return (
      <p class="trouble down" role="alert">
        The server does not answer. What is shown is from{" "}
        {live.value ? `${format.moment(Date.parse(live.value.stats.at))} UTC` : "before"}; it goes on by itself.
      </p>
    );
  }
  const health = live.value?.health;
  if (!health || health.state === "ok") return null;
  return (
    <div class={`trouble ${health.state}`} role="alert">
      {health.causes.map((cause) => (
        <p key={cause}>{cause}</p>
      ))}
    </div>
  );
}

function Pause() {
  return (
    <button
      type="button"
      class="icon"
      aria-pressed={isPaused.value}
      onClick={togglePause}
      title={isPaused.value ? "Go on" : "Pause updates"}
    >
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        {isPaused.value ? <path d="M4 2.5v11l9-5.5z" /> : <path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" />}
      </svg>
      <span class="unseen">Pause updates</span>
    </button>
  );
}

function ThemeButton() {
  const next: Record<Choice, Choice> = { auto: "light", light: "dark", dark: "auto" };
  const words = { auto: "as the system", light: "light", dark: "dark" };
  const choice = themeChoice.value;
  return (
    <button type="button" class="icon" onClick={() => chooseTheme(next[choice])} title={`Theme: ${words[choice]}`}>
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        {choice === "light" && (
          <path d="M8 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM7.3 0h1.4v3H7.3zM7.3 13h1.4v3H7.3zM0 7.3h3v1.4H0zM13 7.3h3v1.4h-3zM2 3l1-1 2 2-1 1zM11 12l1-1 2 2-1 1zM13 2l1 1-2 2-1-1zM4 11l1 1-2 2-1-1z" />
        )}
        {choice === "dark" && <path d="M13.8 10.4A6.2 6.2 0 0 1 5.6 2.2a6.3 6.3 0 1 0 8.2 8.2z" />}
        {choice === "auto" && <path d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM8 3v10A5 5 0 0 1 8 3z" />}
      </svg>
      <span class="unseen">Theme: {words[choice]}</span>
    </button>
  );
}

function SignOut() {
  return (
    <button type="button" class="icon sign-out" onClick={() => void signOut()} title="Sign out">
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        <path d="M2 1.5h7V5H7.4V3.1H3.6v9.8h3.8V11H9v3.5H2zM10.6 4.6 14 8l-3.4 3.4-1.1-1.1 1.5-1.5H5.6V7.2H11L9.5 5.7z" />
      </svg>
      <span class="unseen">Sign out</span>
    </button>
  );
}

function Foot() {
  const server = live.value?.server;
  return (
    <footer class="foot quiet">
      {server && (
        <p>
          Streamgauge {server.version} · {server.log} log · {server.store} · {server.roles.join(", ")} · up since{" "}
          {format.moment(Date.parse(server.started_at))} UTC
        </p>
      )}
      <p>
        <a href="/docs">API</a> <a href="/v1/status">status</a> <a href="/metrics">metrics</a>{" "}
        <a href="/v1/rollups">rollups</a>
      </p>
    </footer>
  );
}
