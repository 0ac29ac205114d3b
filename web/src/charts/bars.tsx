// Bars over time: windows that are final are solid, open ones hatched, corrected ones marked.
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import * as format from "../format";
import type { Slot } from "../live/state";
import { Chart, moved } from "../ui/chart";
import { useWidth } from "../ui/parts";
import { Table } from "../ui/table";
import { labelEvery, steps } from "./scale";

const HEIGHT = 236;
const LEFT = 46;
const BOTTOM = 24;
const TOP = 12;
/** A time of day, in pixels; */
const LABEL = 36;
/** and how much room one takes, without seconds and with them. */
const LABEL_ROOM = [52, 70] as const;

const STATES = { open: "open", grace: "in its grace", final: "final" } as const;

/** Which of the slots that are shown it is: with its date where they are of more than a day. */
function whenOf(slot: Slot, shown: number): string {
  if (shown > format.DAY_MS) return format.span(slot.start, slot.end);
  const withSeconds = slot.end - slot.start < 60_000;
  return `${format.clock(slot.start, "UTC", withSeconds)}–${format.clock(slot.end, "UTC", withSeconds)}`;
}

function spanOf(slots: Slot[]): number {
  return slots.at(-1)!.end - slots[0]!.start;
}

function told(slot: Slot, shown: number): string {
  const corrected = slot.revision > 0 ? `, corrected ${slot.revision}×` : "";
  const late = slot.late > 0 ? `, ${format.number(slot.late)} late` : "";
  return `${whenOf(slot, shown)}: ${format.counted(slot.events, "event")}, ${STATES[slot.state]}${corrected}${late}`;
}

function summary(slots: Slot[]): string {
  const total = slots.reduce((sum, slot) => sum + slot.events, 0);
  const peak = slots.reduce((most, slot) => (slot.events > most.events ? slot : most), slots[0]!);
  const shown = spanOf(slots);
  const span = format.duration(shown);
  if (total === 0) return `No events in ${span}.`;
  const at = shown > format.DAY_MS ? format.moment(peak.start) : format.clock(peak.start);
  return `${format.counted(total, "event")} in ${span}, most at ${at}: ${format.number(peak.events)}`;
}

export function Bars({ name, slots }: { name: string; slots: Slot[] }) {
  return (
    <Chart
      name={name}
      summary={summary(slots)}
      chart={<Drawing name={name} slots={slots} />}
      table={() => (
        <Table
          caption={name}
          items={[...slots].reverse()}
          keyOf={(slot) => slot.start}
          columns={[
            { name: "Window (UTC)", show: (slot) => format.span(slot.start, slot.end) },
            { name: "Events", isNumber: true, show: (slot) => format.number(slot.events) },
            { name: "Late", isNumber: true, show: (slot) => format.number(slot.late) },
            { name: "State", show: (slot) => STATES[slot.state] },
            { name: "Corrections", isNumber: true, show: (slot) => format.number(slot.revision) },
          ]}
        />
      )}
      legend={<Legend />}
    />
  );
}

export function Legend({ hasWatermark }: { hasWatermark?: boolean }) {
  return (
    <ul class="legend">
      <li>
        <i class="swatch solid" /> final
      </li>
      <li>
        <i class="swatch grace" /> in its grace
      </li>
      <li>
        <i class="swatch hatched" /> open
      </li>
      <li>
        <i class="swatch corrected" /> corrected
      </li>
      {hasWatermark && (
        <li>
          <i class="swatch dashed" /> watermark
        </li>
      )}
      <li class="quiet">times in UTC</li>
    </ul>
  );
}

function Drawing({ name, slots }: { name: string; slots: Slot[] }) {
  const [place, width] = useWidth();
  const cursor = useSignal(-1);
  const hatch = useId();
  const lines = steps(Math.max(...slots.map((slot) => slot.events)), true);
  const top = lines.at(-1)!;
  const inner = Math.max(1, width - LEFT);
  const step = inner / slots.length;
  const gap = step > 9 ? 2 : step > 5 ? 1 : 0.5;
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const pane = slots[0]!.end - slots[0]!.start;
  const every = labelEvery(slots.length, inner, LABEL_ROOM[pane < 60_000 ? 1 : 0]) * pane;
  const shown = spanOf(slots);
  const chosen = slots[cursor.value];
  const key = (event: KeyboardEvent) => {
    const next = moved(event.key, cursor.value, slots.length);
    if (next === null) return;
    cursor.value = next;
    event.preventDefault();
  };
  const point = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT;
    cursor.value = x < 0 ? -1 : Math.min(slots.length - 1, Math.floor(x / step));
  };
  return (
    <div
      class="drawing"
      ref={place}
      tabIndex={0}
      role="slider"
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={slots.length - 1}
      aria-valuenow={Math.max(0, cursor.value)}
      aria-valuetext={chosen ? told(chosen, shown) : summary(slots)}
      onKeyDown={key}
      onPointerMove={point}
      onPointerLeave={() => (cursor.value = -1)}
      onBlur={() => (cursor.value = -1)}
    >
      <svg width={width} height={HEIGHT} aria-hidden="true" class="bars">
        <defs>
          <pattern id={hatch} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="6" height="6" class="hatch-back" />
            <rect width="2.5" height="6" class="hatch-line" />
          </pattern>
        </defs>
        {lines.map((value) => (
          <g key={value}>
            <line x1={LEFT} x2={width} y1={y(value)} y2={y(value)} class={value === 0 ? "base" : "grid"} />
            <text x={LEFT - 8} y={y(value)} dy="0.32em" text-anchor="end">
              {format.short(value)}
            </text>
          </g>
        ))}
        {slots.map((slot, index) => {
          const x = LEFT + index * step;
          const height = slot.events === 0 ? 0 : Math.max(1.5, HEIGHT - BOTTOM - y(slot.events));
          const fill = slot.state === "open" ? { fill: `url(#${CSS.escape(hatch)})` } : {};
          return (
            <g key={slot.start} class={index === cursor.value ? "bar chosen" : "bar"}>
              {index === cursor.value && (
                <rect x={x} y={TOP} width={step} height={HEIGHT - TOP - BOTTOM} class="cursor" />
              )}
              <rect
                x={x + gap / 2}
                y={HEIGHT - BOTTOM - height}
                width={Math.max(0.5, step - gap)}
                height={height}
                rx={Math.min(2, step / 4)}
                class={slot.state}
                {...fill}
              />
              {slot.revision > 0 && (
                <path d={`M${x + step / 2 - 3.5} ${HEIGHT - BOTTOM - height - 7}h7l-3.5 5z`} class="corrected" />
              )}
              {slot.start % every === 0 && (
                <text x={Math.min(x + step / 2, width - LABEL / 2)} y={HEIGHT - 6} text-anchor="middle">
                  {format.tick(slot.start, "UTC", pane, shown)}
                </text>
              )}
            </g>
          );
        })}
      </svg>
      <p class="readout" aria-hidden="true">
        {chosen ? told(chosen, shown) : "\u00a0"}
      </p>
    </div>
  );
}
