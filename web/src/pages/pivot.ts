// Rows made into series for a chart: one for each combination of dimensions, the largest first. Drawing may round; the
// table beside it has every digit.
import { toDraw } from "../exact";
import * as format from "../format";
import type { Definition, Row } from "../live/state";

export interface Pivot {
  times: number[];
  series: { name: string; values: (number | null)[] }[];
  /** Combinations that are not drawn. */
  left: number;
}

export function pivot(definition: Definition, measure: string, rows: Row[], seriesMax: number): Pivot {
  const times = withGaps(new Map(rows.map((row) => [Date.parse(row.window_start), Date.parse(row.window_end)])));
  const place = new Map(times.map((time, index) => [time, index]));
  const fn = definition.measures.find((known) => known.name === measure)?.fn;
  const all = new Map<string, { name: string; values: (number | null)[]; size: number }>();
  for (const row of rows) {
    const key = JSON.stringify(definition.by.map((name) => row[name]));
    let series = all.get(key);
    if (!series) {
      const name = format.dimensions(definition.by.map((by) => row[by])) || measure;
      // Where a count or a sum has no row, nothing happened; of anything else nothing is known there.
      series = { name, values: times.map(() => (fn === "count" || fn === "sum" ? 0 : null)), size: 0 };
      all.set(key, series);
    }
    const value = toDraw(row[measure]);
    if (value === null) continue;
    series.values[place.get(Date.parse(row.window_start))!] = value;
    series.size += Math.abs(value);
  }
  for (const series of all.values()) {
    if (fn === "level") holdOn(series.values);
  }
  const ranked = [...all.values()].sort((left, right) => right.size - left.size);
  const series = ranked.slice(0, seriesMax).map(({ name, values }) => ({ name, values }));
  return { times, series, left: ranked.length - series.length };
}

/**
 * The starts of all windows, in order; where some are missing, the first and the last of these too, so that no line is
 * drawn across them as if it were known what lies between.
 */
function withGaps(ends: Map<number, number>): number[] {
  const starts = [...ends.keys()].sort((left, right) => left - right);
  return starts.flatMap((start, index) => {
    const [end, next] = [ends.get(start)!, starts[index + 1]];
    if (next === undefined || end >= next) return [start];
    const last = next - (ends.get(next)! - next);
    return last > end ? [start, end, last] : [start, end];
  });
}

/** A level holds until the next one. */
function holdOn(values: (number | null)[]): void {
  let last: number | null = null;
  for (const [index, value] of values.entries()) {
    if (value === null) values[index] = last;
    else last = value;
  }
}
