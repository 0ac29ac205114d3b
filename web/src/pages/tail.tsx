// Events as they come, and what became of one.
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, get, why, withQuery } from "../api";
import * as format from "../format";
import { isPaused, live, togglePause } from "../live/feed";
import { param, setParams } from "../route";
import { Brief, Choice, Copy, Empty, Fault, Input, Panel, usePolling } from "../ui/parts";

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
      const isNotKept = error instanceof ApiError && error.code === "no_raw_table";
      if (isNotKept) events.value = null;
      fault.value = isNotKept
        ? `Nothing to show: ${error.message}. Without it, only what was counted is kept, not the events.`
        : why(error);
    }
  });
  const chosen = param("event");
  // Only what was opened here takes the focus, and gives it back.
  const opener = useRef<HTMLElement | null>(null);
  const open = (id: string | null, by: HTMLElement | null) => {
    opener.current = by;
    setParams({ event: id });
  };
  const close = () => {
    const back = opener.current?.isConnected ? opener.current : document.querySelector("h1");
    open(null, null);
    back?.focus();
  };
  return (
    <div class={chosen ? "tail beside" : "tail"}>
      <Panel
        title="Newest events"
        tools={
          <button type="button" class={isPaused.value ? "button main" : "button"} onClick={togglePause}>
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
            <Line
              key={`${event.partition}/${event.offset}`}
              event={event}
              isChosen={event.event_id === chosen}
              onOpen={open}
            />
          ))}
        </ol>
      </Panel>
      {chosen && <Fate id={chosen} takesFocus={opener.current !== null} onClose={close} />}
    </div>
  );
}

function Line({
  event,
  isChosen,
  onOpen,
}: {
  event: Event;
  isChosen: boolean;
  onOpen: (id: string | null, by: HTMLElement | null) => void;
}) {
  return (
    <li>
      <button
        type="button"
        class="event"
        aria-pressed={isChosen}
        onClick={(click) => (isChosen ? onOpen(null, null) : onOpen(event.event_id, click.currentTarget))}
      >
        <time dateTime={event.timestamp}>{format.clock(Date.parse(event.timestamp), "UTC", true)}</time>
        <span class="type" dir="auto">
          {event.event_type}
        </span>
        <span class="who quiet" dir="auto">
          {event.user_id ?? event.session_id ?? ""}
        </span>
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
  deleted_at?: string;
  replayed_at?: string | null;
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
  deleted: "Deleted",
  duplicate: "A duplicate",
  dead_letter: "A dead letter",
  in_flight: "On its way",
  unknown: "Not known",
};

function Fate({ id, takesFocus, onClose }: { id: string; takesFocus: boolean; onClose: () => void }) {
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen it stands above the list, out of sight of what was pressed.
    if (takesFocus) place.current?.focus();
  }, [id]);
  const fate = useSignal<FateOf | null>(null);
  const fault = useSignal("");
  usePolling(EVERY_MS, [id], async (signal) => {
    const known = fate.value?.event_id === id ? fate.value : null;
    // What is on its way arrives; anything else stays as it is while one reads it.
    if (known && known.fate !== "in_flight") return;
    if (!known) fate.value = null;
    try {
      fate.value = await get<FateOf>(`v1/events/${encodeURIComponent(id)}`, signal);
      fault.value = "";
    } catch (error) {
      if (!signal.aborted) fault.value = why(error);
    }
  });
  return (
    <Panel
      title="What became of it"
      place={place}
      tools={
        <button type="button" class="button" onClick={onClose}>
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
      {found.deleted_at && <p class="quiet">Deleted by hand {format.moment(Date.parse(found.deleted_at))} UTC</p>}
      {found.replayed_at && <p class="quiet">Replayed {format.moment(Date.parse(found.replayed_at))} UTC</p>}
      {found.cells?.map((cell) => (
        <p key={cell.rollup}>
          in <code>{cell.rollup}</code>, {format.span(Date.parse(cell.window_start), Date.parse(cell.window_end))}:
          <Brief text={format.dimensions(Object.values(cell.dimensions))} />
        </p>
      ))}
    </div>
  );
}
