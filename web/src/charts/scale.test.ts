import { expect, it } from "vitest";
import { moved } from "../ui/chart";
import { axisNumbers, labelEvery, steps, WHOLE_STEPS } from "./scale";

it.each([
  [0, [0, 1]],
  [1, [0, 1]],
  [3, [0, 1, 2, 3]],
  [7, [0, 2, 4, 6, 8]],
  [63, [0, 20, 40, 60, 80]],
  [1_000, [0, 250, 500, 750, 1_000]],
])("whole steps to %d", (largest, expected) => {
  expect(steps(largest, true)).toEqual(expected);
});

it("hold the largest value", () => {
  for (const largest of [0.003, 0.1, 1.1, 12.5, 99.9, 1e9 + 1]) {
    const all = steps(largest, false);
    expect(all.at(-1)).toBeGreaterThanOrEqual(largest);
    expect(all.length).toBeLessThanOrEqual(6);
  }
});

it.each([
  [
    [0, 0.25, 0.5, 0.75, 1],
    ["0", "0.25", "0.5", "0.75", "1"],
  ],
  [
    [0, 0.1, 0.2, 0.1 + 0.2],
    ["0", "0.1", "0.2", "0.3"],
  ],
  [
    [-2_500, 0, 2_500],
    ["-2,500", "0", "2,500"],
  ],
  [
    [0, 12_250, 12_500],
    ["0", "12.25k", "12.5k"],
  ],
  [
    [0, 250_000, 1_000_000, 1_250_000],
    ["0", "0.25M", "1M", "1.25M"],
  ],
  [
    [0, 5e8, 1.5e9],
    ["0", "0.5G", "1.5G"],
  ],
  [[0], ["0"]],
])("the axis %j reads %j", (splits, texts) => {
  expect(axisNumbers(splits)).toEqual(texts);
});

it("has whole steps up to the largest whole numbers", () => {
  expect(WHOLE_STEPS.slice(0, 5)).toEqual([1, 2, 5, 10, 20]);
  expect(WHOLE_STEPS.every(Number.isSafeInteger)).toBe(true);
});

it("labels do not touch", () => {
  expect(labelEvery(30, 300, 50)).toBe(5);
  expect(labelEvery(30, 3_000, 50)).toBe(1);
  expect(labelEvery(30, 10, 50)).toBe(30);
});

it.each([
  ["ArrowRight", -1, 0],
  ["ArrowLeft", -1, 9],
  ["ArrowRight", 9, 9],
  ["ArrowLeft", 0, 0],
  ["Home", 5, 0],
  ["End", 5, 9],
  ["Escape", 5, -1],
  ["a", 5, null],
])("%s from %d goes to %s", (key, at, expected) => {
  expect(moved(key, at, 10)).toBe(expected);
});
