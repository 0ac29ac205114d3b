// Axes: round numbers between zero and the largest value.
import { number } from "../format";

/** Returns three to five round steps from zero that hold the largest value; whole ones where all values are whole. */
export function steps(largest: number, isWhole: boolean): number[] {
  if (!(largest > 0)) return [0, 1];
  const rough = largest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const nice = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? 10 * power;
  const step = isWhole ? Math.max(1, Math.ceil(nice)) : nice;
  const count = Math.ceil(largest / step);
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

const UNITS: [number, string][] = [
  [1e9, "G"],
  [1e6, "M"],
  [1e4, "k"],
];

/** Returns the numbers of an axis in one unit, with as many digits as tell them apart. */
export function axisNumbers(splits: number[]): string[] {
  const largest = Math.max(...splits.map(Math.abs));
  const [size, unit] = UNITS.find(([size]) => largest >= size) ?? [1, ""];
  const scale = unit === "k" ? 1e3 : size;
  // Multiples of a step carry the dust of binary fractions.
  return splits.map((value) => (value === 0 ? "0" : `${number(Number((value / scale).toPrecision(10)))}${unit}`));
}

/** Steps of an axis where nothing lies between whole numbers. */
export const WHOLE_STEPS = Array.from({ length: 15 }, (_, power) =>
  [1, 2, 5].map((factor) => factor * 10 ** power),
).flat();

/** Returns every how many places a label fits, so that the labels stand on round times. */
export function labelEvery(count: number, width: number, labelWidth: number): number {
  const fits = Math.max(1, Math.floor(width / labelWidth));
  return [1, 2, 5, 10, 15, 20, 30, 60].find((every) => count / every <= fits) ?? count;
}
