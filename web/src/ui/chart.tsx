// What every chart has: a summary in words, a cursor for the keyboard, and the same as a table.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { Toggle } from "./parts";

interface Props {
  name: string;
  summary: string;
  chart: ComponentChildren;
  table: () => ComponentChildren;
  legend?: ComponentChildren;
}

export function Chart({ name, summary, chart, table, legend }: Props) {
  const shown = useSignal("chart");
  return (
    <div class="chart">
      <div class="chart-head">
        <p class="quiet summary">{summary}</p>
        <Toggle
          label={`${name}: shown as`}
          value={shown.value}
          options={[
            ["chart", "Chart"],
            ["table", "Table"],
          ]}
          onChange={(value) => (shown.value = value)}
        />
      </div>
      {shown.value === "table" ? (
        table()
      ) : (
        <>
          {chart}
          {legend}
        </>
      )}
    </div>
  );
}

/** Moves a cursor over so many places by the keys of a slider; -1 is nowhere. */
export function moved(key: string, at: number, count: number): number | null {
  const from = at < 0 ? count : at;
  const places: Record<string, number> = {
    ArrowLeft: from - 1,
    ArrowDown: from - 1,
    ArrowRight: at + 1,
    ArrowUp: at + 1,
    PageDown: from - 10,
    PageUp: at + 10,
    Home: 0,
    End: count - 1,
  };
  const place = places[key];
  if (key === "Escape") return -1;
  return place === undefined ? null : Math.min(Math.max(place, 0), count - 1);
}
