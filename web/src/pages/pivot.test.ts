import { expect, it } from "vitest";
import { Exact } from "../exact";
import type { Definition, Row } from "../live/state";
import { pivot } from "./pivot";

const definition: Definition = {
  name: "m",
  stream: "s",
  window_ms: 60_000,
  pane_ms: 60_000,
  grace_ms: 0,
  late: "correct",
  by: ["id"],
  measures: [
    { name: "n", fn: "count" },
    { name: "viewers", fn: "level" },
    { name: "usd", fn: "sum" },
    { name: "best", fn: "max" },
  ],
};
const row = (minute: number, id: string, values: Record<string, unknown>): Row => ({
  window_start: new Date(minute * 60_000).toISOString(),
  window_end: new Date((minute + 1) * 60_000).toISOString(),
  id,
  revision: 0,
  is_final: false,
  ...values,
});
const rows = [
  row(1, "b", { n: 9, viewers: -1, usd: new Exact("0.50"), best: 3 }),
  row(0, "a", { n: 1, viewers: 5, usd: new Exact("1.10"), best: null }),
  row(2, "a", { n: 2, viewers: 7, usd: new Exact("2.20"), best: 4 }),
];

it.each([
  [
    "n",
    [
      ["b", [0, 9, 0]],
      ["a", [1, 0, 2]],
    ],
  ],
  [
    "viewers",
    [
      ["a", [5, 5, 7]],
      ["b", [null, -1, -1]],
    ],
  ],
  [
    "usd",
    [
      ["a", [1.1, 0, 2.2]],
      ["b", [0, 0.5, 0]],
    ],
  ],
  [
    "best",
    [
      ["a", [null, null, 4]],
      ["b", [null, 3, null]],
    ],
  ],
])("%s over time", (measure, expected) => {
  const { times, series, left } = pivot(definition, measure, rows, 8);
  expect(times).toEqual([0, 60_000, 120_000]);
  expect(series.map(({ name, values }) => [name, values])).toEqual(expected);
  expect(left).toBe(0);
});

it("draws the largest and counts the rest", () => {
  const { series, left } = pivot(definition, "n", rows, 1);
  expect([series.map(({ name }) => name), left]).toEqual([["b"], 1]);
});

it("draws no line across windows that are not there", () => {
  const sparse = [0, 1, 3, 9].map((minute) => row(minute, "a", { n: 5, viewers: 2, best: 7 }));
  const drawn = (measure: string) => {
    const { times, series } = pivot(definition, measure, sparse, 8);
    return times.map((time, index) => [time / 60_000, series[0]!.values[index]]);
  };
  const minutes = [0, 1, 2, 3, 4, 8, 9];
  const values = { n: [5, 5, 0, 5, 0, 0, 5], viewers: [2, 2, 2, 2, 2, 2, 2], best: [7, 7, null, 7, null, null, 7] };
  for (const [measure, expected] of Object.entries(values)) {
    expect(drawn(measure)).toEqual(minutes.map((minute, index) => [minute, expected[index]]));
  }
});
