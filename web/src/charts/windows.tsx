// Each rollup's windows beside each other on one line of time: final, in their grace, open; and where the watermark is.
import * as format from "../format";
import { type Live, type Rollup, watermarkOf, windowState } from "../live/state";
import { Legend } from "./bars";
import { Chart } from "../ui/chart";
import { useWidth } from "../ui/parts";
import { Table } from "../ui/table";
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";

const SHOWN = 12;
/** Rollups that are shown until the others are asked for. */
const LINES = 8;
const HEIGHT = 46;
/** How wide a window is that has its time below, in pixels. */
const LABELLED = 52;

interface Window {
  start: number;
  end: number;
  events: number;
  state: "open" | "grace" | "final";
  revision: number;
}

function windowsOf(rollup: Rollup, watermark: number): Window[] {
  const { window_ms: length } = rollup.definition;
  const windows = new Map<number, Window>();
  for (const [pane, { events, revision }] of rollup.panes) {
    const start = Math.floor(pane / length) * length;
    const known = windows.get(start) ?? {
      start,
      end: start + length,
      events: 0,
      revision: 0,
      state: windowState(start + length, watermark, rollup.closedTo),
    };
    windows.set(start, { ...known, events: known.events + events, revision: known.revision + revision });
  }
  const newest = Math.max(...windows.keys());
  return [...windows.values()]
    .filter(({ start }) => start > newest - SHOWN * length)
    .sort((left, right) => left.start - right.start);
}

const WORDS = { open: "open", grace: "in its grace", final: "final" };

export function Windows({ live }: { live: Live }) {
  const all = [...live.rollups.values()].filter((rollup) => rollup.panes.size > 0);
  const areAll = useSignal(false);
  if (all.length === 0) return <p class="empty">No windows yet.</p>;
  const left = all.length - LINES;
  return (
    <div class="windows">
      {all.slice(0, areAll.value ? all.length : LINES).map((rollup) => (
        <Line key={rollup.definition.name} rollup={rollup} watermark={watermarkOf(live, rollup.definition.stream)} />
      ))}
      <Legend hasWatermark />
      {left > 0 && (
        <p>
          <button
            type="button"
            class="button"
            aria-expanded={areAll.value}
            onClick={() => (areAll.value = !areAll.value)}
          >
            {areAll.value ? `Only the first ${LINES}` : format.counted(left, "more rollup")}
          </button>
        </p>
      )}
    </div>
  );
}

function Line({ rollup, watermark }: { rollup: Rollup; watermark: number }) {
  const { name, grace_ms: grace } = rollup.definition;
  const windows = windowsOf(rollup, watermark);
  const counts = (state: string) => windows.filter((window) => window.state === state).length;
  const next = windows.find((window) => window.state !== "final");
  const left = next ? next.end + grace - watermark : 0;
  const summary = `${name}: ${counts("open")} open, ${counts("grace")} in grace, ${counts("final")} final${next && Number.isFinite(left) ? `; the next is final in ${format.duration(Math.max(0, left))} of event time` : ""}`;
  return (
    <Chart
      name={name}
      summary={summary}
      chart={<Drawing windows={windows} rollup={rollup} watermark={watermark} label={summary} />}
      table={() => (
        <Table
          caption={`Windows of ${name}`}
          items={[...windows].reverse()}
          keyOf={(window) => window.start}
          columns={[
            { name: "Window (UTC)", show: (window) => format.span(window.start, window.end) },
            { name: "Events", isNumber: true, show: (window) => format.number(window.events) },
            { name: "State", show: (window) => WORDS[window.state] },
            { name: "Final from (event time)", show: (window) => format.moment(window.end + grace) },
            { name: "Corrections", isNumber: true, show: (window) => format.number(window.revision) },
          ]}
        />
      )}
    />
  );
}

function Drawing({
  windows,
  rollup,
  watermark,
  label,
}: {
  windows: Window[];
  rollup: Rollup;
  watermark: number;
  label: string;
}) {
  const [place, width] = useWidth();
  const hatch = useId();
  const { window_ms: length } = rollup.definition;
  // On a narrow screen fewer, so that their times can be read.
  const span = length * Math.max(1, Math.min(SHOWN, Math.floor(width / LABELLED)));
  const first = windows.at(-1)!.end - span;
  const x = (time: number) => ((time - first) / span) * width;
  const mark = Math.min(Math.max(x(watermark), 0), width);
  return (
    <div ref={place} class="timeline" role="img" aria-label={label}>
      <svg width={width} height={HEIGHT} aria-hidden="true">
        <defs>
          <pattern id={hatch} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="6" height="6" class="hatch-back" />
            <rect width="2.5" height="6" class="hatch-line" />
          </pattern>
        </defs>
        {windows
          .filter(({ start }) => start >= first)
          .map((window) => {
            const size = Math.max(1, x(window.end) - x(window.start) - 2);
            return (
              <g key={window.start}>
                <rect
                  x={x(window.start) + 1}
                  y={4}
                  width={size}
                  height={22}
                  rx={3}
                  class={window.state}
                  {...(window.state === "open" ? { fill: `url(#${CSS.escape(hatch)})` } : {})}
                />
                {window.revision > 0 && <path d={`M${x(window.start) + size / 2 - 3} 0h7l-3.5 5z`} class="corrected" />}
                {size > LABELLED - 8 && (
                  <text x={x(window.start) + 1} y={42}>
                    {format.tick(window.start, "UTC", length, span)}
                  </text>
                )}
              </g>
            );
          })}
        {Number.isFinite(watermark) && <path d={`M${mark} 0v30`} class="watermark" />}
      </svg>
    </div>
  );
}
