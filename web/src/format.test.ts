import { expect, it } from "vitest";
import { Exact } from "./exact";
import * as format from "./format";

it.each([
  [0, "0"],
  [999, "999"],
  [1000, "1,000"],
  [-1234567, "-1,234,567"],
  [0.5, "0.5"],
  [new Exact("1234567.50"), "1,234,567.50"],
  [new Exact("-99999999999999999999.99"), "-99,999,999,999,999,999,999.99"],
])("number %s is %s", (value, text) => {
  expect(format.number(value)).toBe(text);
});

it("writes so many digits where it is told to", () => {
  expect([800.2, 1391.8, 0.005, -3].map((value) => format.number(value, 2))).toEqual([
    "800.20",
    "1,391.80",
    "0.01",
    "-3.00",
  ]);
});

it.each([
  [0, "0"],
  [7.43, "7.4"],
  [312.4, "312"],
  [9_999, "9,999"],
  [12_500, "12.5k"],
  [125_000, "125k"],
  [3_140_000, "3.1M"],
  [2e9, "2G"],
])("short %d is %s", (value, text) => {
  expect(format.short(value)).toBe(text);
});

it.each([
  [null, "–"],
  [3, "3"],
  ["text", "text"],
  [[], "–"],
  [
    [
      { value: "a", count: 3 },
      { value: "b", count: new Exact("10000000000000000000") },
    ],
    "a (3), b (10,000,000,000,000,000,000)",
  ],
  [[1, 2], "1, 2"],
  [{ p50: 1 }, '{"p50":1}'],
])("measure %j is %s", (value, text) => {
  expect(format.measure(value)).toBe(text);
});

it.each([
  [0, "0 ms"],
  [950, "950 ms"],
  [1_000, "1 s"],
  [61_000, "1 m 1 s"],
  [3_600_000, "1 h"],
  [90_000_000, "1 d 1 h"],
  [-5_000, "−5 s"],
])("duration %d is %s", (ms, text) => {
  expect(format.duration(ms)).toBe(text);
});

it("writes times in a zone", () => {
  const noon = Date.UTC(2026, 10, 21, 12, 0, 0);
  expect(format.moment(noon)).toBe("2026-11-21 12:00");
  expect(format.moment(noon + 5_000)).toBe("2026-11-21 12:00:05");
  expect(format.clock(noon, "Asia/Kathmandu")).toBe("17:45");
  expect(format.clock(Date.UTC(2026, 0, 1, 0, 0, 0))).toBe("00:00");
  for (const ms of [0, -1, noon + 999, Date.parse("9999-12-31T23:59:59.999Z")])
    expect(`${format.moment(ms)} ${format.clock(ms, "UTC", true)}`).toBe(
      `${format.moment(ms, "Etc/UTC")} ${format.clock(ms, "Etc/UTC", true)}`,
    );
});

it.each([
  [0, 0, "–"],
  [5, 0, "new"],
  [112, 100, "+12 %"],
  [97, 100, "−3 %"],
  [100, 100, "±0 %"],
  [5_000, 100, "+50×"],
])("change to %d from %d is %s", (now, before, text) => {
  expect(format.change(now, before)).toBe(text);
});

it("counts things", () => {
  expect([0, 1, 2_000].map((count) => format.counted(count, "row"))).toEqual(["0 rows", "1 row", "2,000 rows"]);
  expect([0, 0.04, 9.96, 10.4, 12_345].map(format.rate)).toEqual(["0", "0", "10", "10", "12.3k"]);
});

it("keeps dimensions that run from right to left in their places", () => {
  expect(format.dimensions(["eu", "", null])).toBe("eu · (empty) · (empty)");
  expect(format.dimensions(["مرحبا", "us"])).toBe("\u2068مرحبا\u2069 · us");
  expect(format.dimensions(["\u202Etxt.exe", "us"])).toBe("\u2068\u202Etxt.exe\u2069 · us");
  // Alone there is nothing that it could run into.
  expect([format.dimensions(["مرحبا"]), format.dimensions([])]).toEqual(["مرحبا", ""]);
});

it("says of which day a window is", () => {
  const at = Date.UTC(2026, 10, 21, 23, 0, 0);
  const [second, minute, hour, day] = [1_000, 60_000, 3_600_000, 86_400_000];
  expect(format.span(at, at + minute)).toBe("2026-11-21 23:00 – 23:01");
  expect(format.span(at, at + hour)).toBe("2026-11-21 23:00 – 00:00");
  expect(format.span(at + hour, at + hour + day)).toBe("2026-11-22 00:00 – 2026-11-23 00:00");
  expect(format.span(at, at + 10 * second)).toBe("2026-11-21 23:00 – 23:00:10");
  const ticks = (step: number, span: number) =>
    [at, at + hour].map((time) => format.tick(time, "UTC", step, span)).join(" ");
  expect(ticks(minute, 30 * minute)).toBe("23:00 00:00");
  expect(ticks(hour, 30 * hour)).toBe("23:00 11-22");
  expect(ticks(day, 30 * day)).toBe("11-21 11-22");
  expect(ticks(second, 30 * second)).toBe("23:00:00 00:00:00");
});
