// The connection to the live stream. The browser comes back by itself with the id of the last event; when it gives up,
// this begins anew. Parses and hands on; what it means is `state`'s.
import { signal } from "@preact/signals";
import { isLocked } from "../api";
import { parseExact } from "../exact";
import { canLook, look, session } from "../session";
import { apply, type Live } from "./state";

export type Connection = "connecting" | "live" | "lost";

export const live = signal<Live | null>(null);
export const connection = signal<Connection>("connecting");
/** While paused the page stays as it is; what comes meanwhile is shown at once when it goes on. */
export const isPaused = signal(false);

const NAMES = ["reset", "stats", "cells", "closed", "corrected", "health", "gap"];
/** The stream says something every second. */
const SILENCE_MS = 8_000;
const RETRY_MS = 2_000;

let newest: Live | null = null;
let source: EventSource | null = null;
let silence: ReturnType<typeof setTimeout> | undefined;

function take(event: MessageEvent<string>): void {
  connection.value = "live";
  waitForSilence();
  newest = apply(newest, event.type, parseExact(event.data));
  // What comes together is drawn once. A page that is not seen gets no frames, but its title tells how things are.
  if (document.hidden) show();
  else if (frame === 0) frame = requestAnimationFrame(show);
}

let frame = 0;

function show(): void {
  frame = 0;
  if (!isPaused.value) live.value = newest;
}

function waitForSilence(): void {
  clearTimeout(silence);
  silence = setTimeout(() => {
    connection.value = "lost";
    restart(0);
  }, SILENCE_MS);
}

function restart(afterMs: number): void {
  source?.close();
  source = null;
  setTimeout(() => {
    if (!source && !document.hidden) void enter();
  }, afterMs);
}

/** Browsers keep few connections to one server: a page that nobody looks at gives its own back. */
const HIDDEN_MS = 15_000;
let hidden: ReturnType<typeof setTimeout> | undefined;

function noteVisibility(): void {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(leave, HIDDEN_MS);
  else if (!source) void enter();
}

function leave(): void {
  clearTimeout(silence);
  source?.close();
  source = null;
}

export function start(): void {
  document.addEventListener("visibilitychange", noteVisibility);
  isLocked.subscribe((locked) => {
    if (locked) forget();
    else if (!source) void enter();
  });
}

/** What was seen with one key is not shown to the next. */
function forget(): void {
  leave();
  newest = null;
  live.value = null;
  connection.value = "connecting";
}

/** The stream does not say why it is refused: who asks is looked up first. */
async function enter(): Promise<void> {
  await look();
  if (!source && !isLocked.value && canLook(session.value)) connect();
}

function connect(): void {
  source = new EventSource("v1/stream");
  for (const name of NAMES) source.addEventListener(name, take);
  source.onerror = () => {
    connection.value = "lost";
    // A refused answer ends the browser's own tries.
    if (source?.readyState === EventSource.CLOSED) restart(RETRY_MS);
  };
}

export function togglePause(): void {
  isPaused.value = !isPaused.value;
  if (!isPaused.value) live.value = newest;
}
