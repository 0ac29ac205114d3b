import { expect, it } from "vitest";
import { Exact } from "../exact";
import type { Definition, Row } from "../live/state";
import { grouped, isAdditive, seriesOf } from "./ranking";

const definition: Definition = {
  name: "sales",
  stream: "events",
  window_ms: 60_000,
  pane_ms: 60_000,
  grace_ms: 0,
  late: "correct",
  by: ["country", "shop"],
  measures: [
    { name: "usd", fn: "sum" },
    { name: "largest", fn: "max" },
  ],
};
const row = (minute: number, country: string, shop: string, usd: string): Row => ({
  window_start: new Date(minute * 60_000).toISOString(),
  window_end: new Date((minute + 1) * 60_000).toISOString(),
  country,
  shop,
  usd: new Exact(usd),
  revision: 0,
  is_final: false,
});

it("adds exactly and orders by the sums", () => {
  const rows = [row(0, "a", "1", "0.10"), row(0, "b", "1", "0.25"), row(0, "a", "2", "0.20")];
  const entries = grouped(definition, "usd", "country", rows);
  expect(entries.map(({ dimensions, value }) => [dimensions["country"], String(value)])).toEqual([
    ["a", "0.30"],
    ["b", "0.25"],
  ]);
  expect(grouped(definition, "usd", "", rows).map(({ dimensions }) => dimensions["shop"])).toEqual(["1", "1", "2"]);
});

it("adds only what may be added", () => {
  expect([isAdditive(definition, "usd"), isAdditive(definition, "largest"), isAdditive(definition, "none")]).toEqual([
    true,
    false,
    false,
  ]);
});

it("has a value for every window of a sum", () => {
  const series = seriesOf(
    definition,
    "usd",
    "country",
    [row(0, "a", "1", "1.50"), row(2, "a", "2", "2"), row(2, "a", "1", "1")],
    0,
    180_000,
  );
  expect([...series.values()]).toEqual([[1.5, 0, 3]]);
});
