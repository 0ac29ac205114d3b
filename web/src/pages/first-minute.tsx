// A server that has nothing yet: what to type, and what happens when it is typed.
import { computed, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as format from "../format";
import { absolute, command, get, why } from "../api";
import type { Live, Row } from "../live/state";
import { href } from "../route";
import { Copy, Panel, ScopedButton } from "../ui/parts";
import { firstEvent, type Known } from "./bodies";

/** Whether the server was seen without an event since the page was loaded. */
const seenEmpty = signal(false);
/** Whether the demo sends: then the page goes on by itself, since nobody waits for an event of their own. */
const hasDemo = signal(false);
/** Whether what came first is still to be read. */
export const isFirst = computed(() => seenEmpty.value && !hasDemo.value);

/** The shell command that sends an event: here, or to a process that takes some. */
function commandFor({ path, body }: { path: string; body: string }, isTaken: boolean): string {
  const url = isTaken ? absolute(path.replace(/^\//, "")) : `http://INGEST_HOST:8080${path}`;
  // Shells read more into a question mark.
  return `curl -X POST ${url.includes("?") ? `'${url}'` : url} \\
  -d '${body.replaceAll("'", "'\\''")}'`;
}

/** What this server's streams take; null until it is known. */
function useFirstEvent(): { path: string; body: string } | null {
  const first = useSignal<{ path: string; body: string } | null>(null);
  useEffect(() => {
    const take = (streams: Known[] | null) => (first.value = firstEvent(new Date(), streams));
    get<{ streams: Known[] }>("v1/status").then(
      ({ streams }) => take(streams),
      () => take(null),
    );
  }, []);
  return first.value;
}

export function FirstMinute({ live, onGone }: { live: Live; onGone: () => void }) {
  const isEmpty = live.stats.total.received === 0;
  const first = useFirstEvent();
  const { roles } = live.server;
  const isTaken = roles.includes("ingest");
  if (isEmpty && !seenEmpty.peek()) queueMicrotask(() => (seenEmpty.value = true));
  const rows = [...live.rollups.values()].flatMap(({ definition, rows: all }) =>
    [...all.values()].map((row) => ({ definition, row })),
  );
  if (!first) return <p class="quiet">Asking…</p>;
  const text = commandFor(first, isTaken);
  const leave = () => {
    seenEmpty.value = false;
    onGone();
  };
  return (
    <div class="first-minute">
      <Panel title={isEmpty ? "Send the first event" : "It is in"}>
        {!isTaken && (
          <p>
            This process takes no events: it has the roles {roles.join(", ")}. Send one to a process with the role
            ingest.
          </p>
        )}
        <pre class="command">
          <code>{text}</code>
        </pre>
        <p class="row-of-buttons">
          <Copy text={text} label="Copy" />
          {isEmpty && <DemoButton />}
        </p>
        {isEmpty && (
          <p class="waiting" role="status">
            <i aria-hidden="true" />
            Waiting for an event. This page says so the moment one arrives.
          </p>
        )}
        {!isEmpty && <Arrived live={live} rows={rows} onGone={leave} />}
      </Panel>
    </div>
  );
}

function DemoButton() {
  const isThere = useSignal(false);
  const fault = useSignal("");
  useEffect(() => {
    get<{ available: boolean; running: boolean }>("v1/demo")
      .then(({ available, running }) => {
        isThere.value = available && !running;
        hasDemo.value = running;
      })
      .catch((error: unknown) => (fault.value = why(error)));
  }, []);
  const start = () =>
    command("v1/demo/start")
      .then(() => (hasDemo.value = true))
      .catch((error: unknown) => (fault.value = why(error)));
  return (
    <>
      {isThere.value && (
        <ScopedButton scope="admin" onClick={() => void start()}>
          Or start the demo
        </ScopedButton>
      )}
      <span role="alert">{fault.value}</span>
    </>
  );
}

function Arrived({
  live,
  rows,
  onGone,
}: {
  live: Live;
  rows: { definition: { name: string; by: string[]; measures: { name: string }[] }; row: Row }[];
  onGone: () => void;
}) {
  const { total } = live.stats;
  return (
    <div class="arrived" role="status">
      <p>
        <strong>
          {format.number(total.received)} received, {format.number(total.written)} counted.
        </strong>{" "}
        {total.lag > 0 ? "The rest is on its way." : ""}
      </p>
      <ul>
        {rows.slice(0, 5).map(({ definition, row }) => (
          <li key={definition.name + row.window_start + definition.by.map((name) => row[name]).join()}>
            <code>{definition.name}</code> now says {format.dimensions(definition.by.map((name) => row[name]))}:{" "}
            {definition.measures.map(({ name }) => `${name} ${format.measure(row[name])}`).join(", ")}
          </li>
        ))}
      </ul>
      <p class="row-of-buttons">
        <button type="button" class="button main" onClick={onGone}>
          To the overview
        </button>{" "}
        <a class="button quiet-button" href={href("tail")}>
          See the event itself
        </a>
      </p>
    </div>
  );
}
