// Events as they come, and what became of one.
import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, get, why, withQuery } from "../api";
import * as format from "../format";
import { isPaused, live, togglePause } from "../live/feed";
import { param, setParams } from "../route";
import { Choice, Copy, Empty, Fault, Input, Panel, usePolling } from "../ui/parts";

const EVERY_MS = 1_000;
const SHOWN = 40;

interface Event {
  event_id: string;
  event_type: string;
  timestamp: string;
  user_id: string | null;
  session_id: string | null;
  properties: unknown;
  received_at: string;
  partition: number;
  offset: number;
}

const FILTERS = ["event_type", "user_id", "session_id"] as const;

export function Tail() {
  const events = useSignal<Event[] | null>(null);
  const fault = useSignal("");
  // Not drawn anew with every figure, only when there are other streams.
  const names = useComputed(() => JSON.stringify(live.value?.stats.streams.map((stream) => stream.name) ?? []));
  const streams = JSON.parse(names.value) as string[];
  const stream = param("stream");
  const filters = FILTERS.map((name) => param(name));
  usePolling(EVERY_MS, [stream, ...filters], async (signal) => {
    if (isPaused.value && events.value) return;
    const asked = Object.fromEntries(FILTERS.map((name) => [name, param(name) || null]));
    try {
      const found = await get<{ data: Event[] }>(
        withQuery("v1/events", { stream: stream || null, limit: SHOWN, ...asked }),
        signal,
      );
      events.value = found.data;
      fault.value = "";
    } catch (error) {
      if (signal.aborted) return;
      const isNotKept = error instanceof ApiError && error.status === 404;
      if (isNotKept) events.value = null;
      fault.value = isNotKept
        ? `Nothing to show: ${error.message}. Without it, only what was counted is kept, not the events.`
        : why(error);
    }
  });
  const chosen = param("event");
  return (
    <div class={chosen ? "tail beside" : "tail"}>
      <Panel
        title="Newest events"
        tools={
          <button type="button" class="button" aria-pressed={isPaused.value} onClick={togglePause}>
            {isPaused.value ? "Go on" : "Pause"}
          </button>
        }
      >
        <form class="question" onSubmit={(event) => event.preventDefault()}>
          <Choice
            label="Stream"
            value={stream}
            options={[["", "default"], ...streams.map((name): [string, string] => [name, name])]}
            onChange={(value) => setParams({ stream: value || null })}
          />
          {FILTERS.map((name) => (
            <Input
              key={name}
              label={name}
              value={param(name)}
              placeholder="any"
              onChange={(value) => setParams({ [name]: value || null })}
            />
          ))}
        </form>
        {fault.value && <Fault>{fault.value}</Fault>}
        {events.value?.length === 0 && <Empty>No events yet, or none that match.</Empty>}
        <ol class="events">
          {events.value?.map((event) => (
            <Line key={`${event.partition}/${event.offset}`} event={event} isChosen={event.event_id === chosen} />
          ))}
        </ol>
      </Panel>
      {chosen && <Fate id={chosen} />}
    </div>
  );
}

function Line({ event, isChosen }: { event: Event; isChosen: boolean }) {
  return (
    <li>
      <button
        type="button"
        class="event"
        aria-pressed={isChosen}
        onClick={() => setParams({ event: isChosen ? null : event.event_id })}
      >
        <time dateTime={event.timestamp}>{format.clock(Date.parse(event.timestamp), "UTC", true)}</time>
        <span class="type">{event.event_type}</span>
        <span class="who quiet">{event.user_id ?? event.session_id ?? ""}</span>
        <code class="raw">{JSON.stringify(event.properties)}</code>
      </button>
    </li>
  );
}

interface Cell {
  rollup: string;
  window_start: string;
  window_end: string;
  dimensions: Record<string, string>;
}

interface Found {
  fate: string;
  stream: string;
  partition: number;
  offset: number;
  timestamp?: string;
  received_at?: string;
  reason?: string;
  detail?: string;
  cells?: Cell[];
}

interface FateOf {
  event_id: string;
  fate: string;
  found: Found[];
  why?: string;
}

const WORDS: Record<string, string> = {
  counted: "Counted",
  duplicate: "A duplicate",
  dead_letter: "A dead letter",
  in_flight: "On its way",
  unknown: "Not known",
};

function Fate({ id }: { id: string }) {
  const fate = useSignal<FateOf | null>(null);
  const fault = useSignal("");
  useEffect(() => {
    const gone = new AbortController();
    fate.value = null;
    get<FateOf>(`v1/events/${encodeURIComponent(id)}`, gone.signal)
      .then((found) => {
        fate.value = found;
        fault.value = "";
      })
      .catch((error: unknown) => {
        if (!gone.signal.aborted) fault.value = why(error);
      });
    return () => gone.abort();
  }, [id]);
  return (
    <Panel
      title="What became of it"
      tools={
        <button type="button" class="button" onClick={() => setParams({ event: null })}>
          Close
        </button>
      }
    >
      <p class="id">
        <code>{id}</code> <Copy text={id} label="Copy" />
      </p>
      {fault.value && <Fault>{fault.value}</Fault>}
      <div role="status">
        {fate.value && <p class="verdict">{WORDS[fate.value.fate] ?? fate.value.fate}</p>}
        {fate.value?.why && <p class="quiet">{fate.value.why}</p>}
        {fate.value?.found.map((found) => (
          <Place key={`${found.stream}/${found.partition}/${found.offset}`} found={found} />
        ))}
      </div>
    </Panel>
  );
}

function Place({ found }: { found: Found }) {
  return (
    <div class="fate">
      <p>
        {WORDS[found.fate] ?? found.fate} at{" "}
        <code>
          {found.stream} {found.partition}:{found.offset}
        </code>
      </p>
      {found.reason && (
        <p>
          <code>{found.reason}</code> {found.detail}
        </p>
      )}
      {found.received_at && <p class="quiet">Received {format.moment(Date.parse(found.received_at))} UTC</p>}
      {found.cells?.map((cell) => (
        <p key={cell.rollup}>
          in <code>{cell.rollup}</code>, {format.moment(Date.parse(cell.window_start))} –{" "}
          {format.clock(Date.parse(cell.window_end))}:{" "}
          {Object.values(cell.dimensions).map(format.dimension).join(" · ")}
        </p>
      ))}
    </div>
  );
}
