// Series over time, drawn by uPlot: lines, or steps where a value holds until the next. Colours come from the page's
// style, so that a change of theme redraws.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import * as format from "../format";
import { theme } from "../ui/theme";
import { useWidth } from "../ui/parts";
import { axisNumbers, WHOLE_STEPS } from "./scale";

export interface Series {
  name: string;
  values: (number | null)[];
}

export const SERIES_MAX = 8;
const HEIGHT = 320;
/** Each colour also has its own dashes: they are told apart without colours too. */
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 5], [1, 4], [14, 4], [4, 2, 1, 2]];

interface Props {
  times: number[];
  series: Series[];
  zone: string;
  isStepped: boolean;
  /** Digits behind the point, where they are always as many. */
  digits: number | undefined;
  label: string;
  /** The times at the two ends. */
  range: [number, number];
  /** What a part that is drawn over with the pointer is for. */
  onSelect: (from: number, to: number) => void;
}

export function SeriesChart({ times, series, zone, isStepped, digits, label, range, onSelect }: Props) {
  const [place, width] = useWidth();
  const plot = useRef<uPlot | null>(null);
  const isWhole = series.every(({ values }) => values.every((value) => Number.isInteger(value ?? 0)));
  const shape = JSON.stringify([series.map(({ name }) => name), zone, isStepped, isWhole, digits, theme.value, range]);
  const data: uPlot.AlignedData = [times.map((time) => time / 1000), ...series.map(({ values }) => values)];
  useEffect(() => {
    if (!place.current || width === 0) return;
    plot.current = new uPlot(
      options(series, width, zone, { isStepped, isWhole, digits }, range, onSelect),
      data,
      place.current,
    );
    return () => plot.current?.destroy();
  }, [shape, width === 0]);
  useEffect(() => {
    plot.current?.setData(data);
    if (plot.current) showNewest(plot.current);
  });
  useEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height: HEIGHT });
  }, [width]);
  return <div class="series" ref={place} role="img" aria-label={label} />;
}

/** Where nothing is pointed at the legend tells the newest values. */
function showNewest(plot: uPlot): void {
  const count = plot.data[0].length;
  if (plot.cursor.idx == null && count > 0) plot.setLegend({ idx: count - 1 }, false);
}

function options(
  series: Series[],
  width: number,
  zone: string,
  { isStepped, isWhole, digits }: { isStepped: boolean; isWhole: boolean; digits: number | undefined },
  [from, to]: [number, number],
  onSelect: (from: number, to: number) => void,
): uPlot.Options {
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  return {
    width,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), zone),
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
    hooks: {
      setCursor: [showNewest],
      setSelect: [
        (plot) => {
          if (plot.select.width < 4) return;
          const time = (pixel: number) => plot.posToVal(pixel, "x") * 1e3;
          onSelect(time(plot.select.left), time(plot.select.left + plot.select.width));
        },
      ],
    },
    legend: { live: true },
    scales: {
      x: { range: () => [from / 1e3, to / 1e3] },
      y: { range: (_, least, most) => [Math.min(0, least), most === least ? least + 1 : most * 1.05] },
    },
    axes: [
      { ...axis, values: axisTimes(zone, to - from) },
      { ...axis, size: 58, values: (_, splits) => axisNumbers(splits), ...(isWhole ? { incrs: WHOLE_STEPS } : {}) },
    ],
    series: [
      { label: "Time", value: (_, seconds) => (seconds === null ? "–" : format.moment(seconds * 1e3, zone)) },
      ...series.map(({ name }, index): uPlot.Series => ({
        label: name,
        stroke: color(`--series-${index % SERIES_MAX}`),
        dash: DASHES[index % DASHES.length]!,
        width: 2,
        spanGaps: false,
        value: (_, value) => (value === null ? "–" : format.number(value, digits)),
        ...(isStepped && stepped ? { paths: stepped } : {}),
      })),
    ],
  };
}

/** A colour of the page's style as a canvas reads it: the variables hold one for each theme. */
function color(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

function axisTimes(zone: string, span: number): uPlot.Axis.DynamicValues {
  return (_, splits) => {
    const step = splits.length > 1 ? (splits[1]! - splits[0]!) * 1e3 : span;
    return splits.map((seconds) => format.tick(seconds * 1e3, zone, step, span));
  };
}
