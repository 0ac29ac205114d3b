import { describe, expect, it } from "vitest";
import { apply, type Live, slots, windowState } from "./state";

const definition = {
  name: "hits",
  stream: "events",
  window_ms: 60_000,
  pane_ms: 60_000,
  grace_ms: 0,
  late: "correct",
  by: ["path"],
  measures: [{ name: "hits", fn: "count" }],
};
const flow = (received: number) => ({
  received,
  written: received,
  duplicate: 0,
  dead_lettered: 0,
  deleted: 0,
  skipped: 0,
  lag: 0,
  received_per_second: 1,
  written_per_second: 1,
  last_minute: null,
});
const stats = (at: string, received: number) => ({
  at,
  today: received,
  total: flow(received),
  streams: [],
  process: {},
});
const minute = (number: number) => new Date(number * 60_000).toISOString();
const row = (at: number, path: string, hits: number, revision = 0) => ({
  window_start: minute(at),
  window_end: minute(at + 1),
  path,
  hits,
  late_count: 0,
  revision,
  is_final: false,
});
const pane = (at: number, events: number) => ({
  start: minute(at),
  end: minute(at + 1),
  events,
  late_count: 0,
  revision: 0,
  cells: 1,
});
const all = (received: number, rows = [row(0, "/a", received)], panes = [pane(0, received)]) => ({
  server: {},
  stats: stats(minute(0), received),
  health: { state: "ok", causes: [] },
  rollups: [{ definition, rows, panes }],
});
const start = (): Live => apply(null, "reset", all(1))!;

describe("apply", () => {
  it("knows nothing before it was told everything", () => {
    expect(apply(null, "cells", { rollup: "hits", rows: [row(0, "/a", 1)] })).toBeNull();
  });

  it("replaces rows, so that the same event twice counts once", () => {
    const change = { rollup: "hits", rows: [row(0, "/a", 5), row(0, "/b", 1)], panes: [pane(0, 6)] };
    const once = apply(start(), "cells", change)!;
    const twice = apply(once, "cells", change)!;
    for (const live of [once, twice]) {
      const rollup = live.rollups.get("hits")!;
      expect([...rollup.rows.values()].map((known) => known["hits"])).toEqual([5, 1]);
      expect(rollup.panes.get(0)!.events).toBe(6);
    }
  });

  it("forgets what a reset does not have", () => {
    const grown = apply(start(), "cells", { rollup: "hits", rows: [row(1, "/b", 9)], panes: [pane(1, 9)] });
    const again = apply(grown, "reset", all(2))!;
    expect([...again.rollups.get("hits")!.rows.values()].map((known) => known["hits"])).toEqual([2]);
    expect(again.rollups.get("hits")!.version).toBeGreaterThan(grown!.rollups.get("hits")!.version);
  });

  it("closes windows up to the one that is named", () => {
    const two = apply(start(), "cells", { rollup: "hits", rows: [row(1, "/a", 1)], panes: [] })!;
    const closed = apply(two, "closed", { rollup: "hits", closed_to: minute(1) })!;
    expect([...closed.rollups.get("hits")!.rows.values()].map((known) => known.is_final)).toEqual([true, false]);
  });

  it("leaves the state alone for what it does not know", () => {
    const live = start();
    expect(apply(live, "cells", { rollup: "other", rows: [] })).toBe(live);
    expect(apply(live, "news", {})).toBe(live);
  });
});

it("a window is open, then in its grace, then final", () => {
  expect(windowState(100, 99, 0)).toBe("open");
  expect(windowState(100, 100, 99)).toBe("grace");
  expect(windowState(100, 200, 100)).toBe("final");
});

describe("slots", () => {
  it("end now and have zeros where nothing was", () => {
    const shown = slots(start().rollups.get("hits")!, 0, 2 * 60_000 + 5, 3);
    expect(shown.map(({ start: at, events, isKnown }) => [at, events, isKnown])).toEqual([
      [0, 1, true],
      [60_000, 0, false],
      [120_000, 0, false],
    ]);
  });

  it("stay with data of another time", () => {
    const shown = slots(start().rollups.get("hits")!, 0, 9e12, 2);
    expect(shown.map(({ start: at }) => at)).toEqual([-60_000, 0]);
  });

  it("are final when their window is, not their pane", () => {
    const hourly = { ...definition, window_ms: 120_000 };
    const live = apply(null, "reset", {
      ...all(1),
      rollups: [{ definition: { ...hourly, closed_to: minute(1) }, rows: [], panes: [pane(0, 1)] }],
    })!;
    expect(slots(live.rollups.get("hits")!, 60_000, 0, 1)[0]!.state).toBe("open");
  });
});
