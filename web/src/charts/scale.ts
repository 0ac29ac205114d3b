// Axes: round numbers between zero and the largest value.

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

/** Returns every how many places a label fits, so that the labels stand on round times. */
export function labelEvery(count: number, width: number, labelWidth: number): number {
  const fits = Math.max(1, Math.floor(width / labelWidth));
  return [1, 2, 5, 10, 15, 20, 30, 60].find((every) => count / every <= fits) ?? count;
}
