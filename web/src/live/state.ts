// What the live stream has said so far, as one value; each event makes the next. Rows are replaced, never added up, so
// that an event which comes twice, or a server that was started again, changes nothing twice.

import { plain } from "../exact";

export interface Measure {
  name: string;
  fn: string;
  field?: string;
  scale?: number;
}

export interface Definition {
  name: string;
  stream: string;
  window_ms: number;
  pane_ms: number;
  grace_ms: number;
  late: string;
  by: string[];
  measures: Measure[];
  closed_to?: string;
}

export type Row = Record<string, unknown> & {
  window_start: string;
  window_end: string;
  revision: number;
  is_final: boolean;
};

export interface Pane {
  start: string;
  end: string;
  events: number;
  late_count: number;
  revision: number;
  cells: number;
}

export interface Rollup {
  definition: Definition;
  closedTo: number;
  panes: Map<number, Pane>;
  rows: Map<string, Row>;
  /** Grows with every change, for those who ask the server for more when there is some. */
  version: number;
}

export interface Flow {
  received: number;
  written: number;
  duplicate: number;
  dead_lettered: number;
  /** Counted once, and taken out by hand. */
  deleted: number;
  /** Offsets whose records the log has lost. */
  skipped: number;
  lag: number;
  received_per_second: number | null;
  written_per_second: number | null;
  last_minute: { events: number; seconds: number } | null;
}

export interface Partition {
  partition: number;
  log_end: number | null;
  next_offset: number | null;
  lag: number | null;
  m: string | null;
  is_idle: boolean;
  owner: string | null;
  folded: number | null;
  duplicate_window_bytes: number | null;
  stopped: string | null;
}

export interface Stream extends Flow {
  name: string;
  watermark: string | null;
  partitions: Partition[];
}

export interface Process {
  requests: number;
  accepted: number;
  refused: number;
  body_bytes_in_flight: number;
  body_bytes_max: number;
  append_ms: number | null;
  flushes: number;
  flush_ms: number | null;
  flush_retries: number;
}

export interface Stats {
  at: string;
  today: number | null;
  total: Flow;
  streams: Stream[];
  process: Process;
}

export interface Health {
  state: "ok" | "degraded" | "down";
  causes: string[];
}

export interface Server {
  version: string;
  log: string;
  store: string;
  roles: string[];
  started_at: string;
}

export interface Live {
  server: Server;
  stats: Stats;
  health: Health;
  rollups: Map<string, Rollup>;
  /** Events per second of the last minutes; null where it is not known. */
  rates: { at: number; received: number | null; written: number | null }[];
}

/** Rates that are remembered: five minutes. */
const RATES_MAX = 300;
/** Panes and rows that are remembered of a rollup beyond what the stream watches. */
const PANES_MAX = 240;
const ROWS_MAX = 5_000;

interface WholeRollup {
  definition: Definition;
  panes: Pane[];
  rows: Row[];
}

interface Whole {
  server: Server;
  stats: Stats;
  health: Health;
  rollups: WholeRollup[];
}

interface Change {
  rollup: string;
  panes?: Pane[];
  rows?: Row[];
  closed_to?: string;
}

export function rowKey(definition: Definition, row: Row): string {
  return JSON.stringify([row.window_start, ...definition.by.map((name) => row[name])]);
}

/** Returns the state after an event; the same object where the event says nothing new. */
export function apply(live: Live | null, name: string, data: unknown): Live | null {
  if (name === "reset") return whole(live, data as Whole);
  if (!live) return null;
  if (name === "stats") return withStats(live, data as Stats);
  if (name === "health") return { ...live, health: data as Health };
  if (name === "cells" || name === "corrected" || name === "closed") return withChange(live, data as Change);
  return live;
}

function whole(before: Live | null, data: Whole): Live {
  const rollups = new Map<string, Rollup>();
  for (const { definition, panes, rows } of data.rollups) {
    const version = (before?.rollups.get(definition.name)?.version ?? 0) + 1;
    const closedTo = definition.closed_to ? Date.parse(definition.closed_to) : Number.NEGATIVE_INFINITY;
    const empty: Rollup = { definition, closedTo, panes: new Map(), rows: new Map(), version };
    rollups.set(definition.name, taking(empty, panes, rows));
  }
  const { server, health } = data;
  return withRate({ server, health, rollups, stats: plain(data.stats), rates: before?.rates ?? [] });
}

function withStats(live: Live, stats: Stats): Live {
  return withRate({ ...live, stats: plain(stats) });
}

function withRate(live: Live): Live {
  const { at, total } = live.stats;
  const rate = { at: Date.parse(at), received: total.received_per_second, written: total.written_per_second };
  return { ...live, rates: [...live.rates.filter((known) => known.at !== rate.at), rate].slice(-RATES_MAX) };
}

function withChange(live: Live, change: Change): Live {
  const rollup = live.rollups.get(change.rollup);
  if (!rollup) return live;
  let next = taking({ ...rollup, version: rollup.version + 1 }, change.panes ?? [], change.rows ?? []);
  if (change.closed_to) next = closing(next, Date.parse(change.closed_to));
  return { ...live, rollups: new Map(live.rollups).set(change.rollup, next) };
}

function taking(rollup: Rollup, panes: Pane[], rows: Row[]): Rollup {
  const allPanes = new Map(rollup.panes);
  for (const pane of panes) allPanes.set(Date.parse(pane.start), pane);
  const allRows = new Map(rollup.rows);
  for (const row of rows) allRows.set(rowKey(rollup.definition, row), row);
  dropOldest(allPanes, PANES_MAX, ([start]) => start);
  dropOldest(allRows, ROWS_MAX, ([, row]) => Date.parse(row.window_start));
  return { ...rollup, panes: allPanes, rows: allRows };
}

function dropOldest<Key, Value>(map: Map<Key, Value>, max: number, age: (entry: [Key, Value]) => number): void {
  if (map.size <= max) return;
  const entries = [...map].sort((left, right) => age(left) - age(right));
  for (const [key] of entries.slice(0, map.size - max)) map.delete(key);
}

function closing(rollup: Rollup, closedTo: number): Rollup {
  const rows = new Map(rollup.rows);
  for (const [key, row] of rows) {
    if (!row.is_final && Date.parse(row.window_end) <= closedTo) rows.set(key, { ...row, is_final: true });
  }
  return { ...rollup, rows, closedTo };
}

export type WindowState = "open" | "grace" | "final";

/** What a window that ends then is: open, in its grace, or final. */
export function windowState(end: number, watermark: number, closedTo: number): WindowState {
  if (end <= closedTo) return "final";
  return end <= watermark ? "grace" : "open";
}

export interface Slot {
  start: number;
  end: number;
  events: number;
  late: number;
  revision: number;
  state: WindowState;
  isKnown: boolean;
}

/** The newest panes of a rollup, one slot each also where there is none, up to now or to the newest one. */
export function slots(rollup: Rollup, watermark: number, now: number, count: number): Slot[] {
  const { pane_ms: pane, window_ms: window } = rollup.definition;
  const newest = Math.max(...rollup.panes.keys());
  // Data of another time is shown at its own: nobody looks at an empty half hour.
  const isCurrent = !Number.isFinite(newest) || Math.abs(now - newest) < count * pane;
  const last = Math.floor((isCurrent ? Math.max(now, Number.isFinite(newest) ? newest : now) : newest) / pane) * pane;
  return Array.from({ length: count }, (_, index) => {
    const start = last - (count - 1 - index) * pane;
    const windowEnd = Math.floor(start / window) * window + window;
    const known = rollup.panes.get(start);
    const [events, late, revision] = [known?.events ?? 0, known?.late_count ?? 0, known?.revision ?? 0];
    return {
      start,
      end: start + pane,
      events,
      late,
      revision,
      state: windowState(windowEnd, watermark, rollup.closedTo),
      isKnown: known !== undefined,
    };
  });
}

export function watermarkOf(live: Live, stream: string): number {
  const at = live.stats.streams.find((known) => known.name === stream)?.watermark;
  return at ? Date.parse(at) : Number.NEGATIVE_INFINITY;
}
