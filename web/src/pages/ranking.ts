// Rows made into a ranking. Sums are exact; what cannot be added is never added.
import { addExact, isNumeric, toDraw } from "../exact";
import type { Definition, Row } from "../live/state";

export interface Entry {
  key: string;
  dimensions: Record<string, unknown>;
  value: unknown;
}

/** Whether values of different dimensions may be added up. */
export function isAdditive(definition: Definition, measure: string): boolean {
  const fn = definition.measures.find((known) => known.name === measure)?.fn;
  return fn === "count" || fn === "sum" || fn === "level";
}

function dimensionsOf(definition: Definition, dimension: string, row: Row): Record<string, unknown> {
  const names = dimension === "" ? definition.by : [dimension];
  return Object.fromEntries(names.map((name) => [name, row[name]]));
}

/** Entries by one dimension, or by each combination where none is named; the largest first. */
export function grouped(definition: Definition, measure: string, dimension: string, rows: Row[]): Entry[] {
  const entries = new Map<string, Entry>();
  for (const row of rows) {
    const dimensions = dimensionsOf(definition, dimension, row);
    const key = JSON.stringify(Object.values(dimensions));
    const known = entries.get(key);
    const value = row[measure];
    if (!known) entries.set(key, { key, dimensions, value });
    else if (isNumeric(known.value) && isNumeric(value)) known.value = addExact(known.value, value);
  }
  if (dimension === "") return [...entries.values()];
  return [...entries.values()].sort((left, right) => (toDraw(right.value) ?? 0) - (toDraw(left.value) ?? 0));
}

/** The course of each entry over the windows of a range; zero where a count or sum has nothing, else a gap. */
export function seriesOf(
  definition: Definition,
  measure: string,
  dimension: string,
  rows: Row[],
  from: number,
  to: number,
): Map<string, (number | null)[]> {
  const window = definition.window_ms;
  const first = Math.floor(from / window) * window;
  const count = Math.max(1, Math.ceil((to - first) / window));
  const fn = definition.measures.find((known) => known.name === measure)?.fn;
  const empty = fn === "count" || fn === "sum" ? 0 : null;
  const series = new Map<string, (number | null)[]>();
  for (const row of rows) {
    const key = JSON.stringify(Object.values(dimensionsOf(definition, dimension, row)));
    const values = series.get(key) ?? Array.from({ length: count }, () => empty);
    series.set(key, values);
    const index = Math.round((Date.parse(row.window_start) - first) / window);
    const value = toDraw(row[measure]);
    if (index >= 0 && index < count && value !== null) values[index] = (values[index] ?? 0) + value;
  }
  return series;
}
