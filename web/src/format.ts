// How numbers, times and durations are written. Numbers are grouped without passing through a double.
import { isNumeric, type Numeric } from "./exact";

/** Groups the digits of a number in threes; its fraction stays as it is, or is written to so many digits. */
export function number(value: Numeric, digits?: number): string {
  const rounded = digits === undefined ? value : Number(value).toFixed(digits);
  const text = typeof rounded === "number" ? plain(rounded) : String(rounded);
  const match = /^(-?)(\d+)(.*)$/.exec(text);
  if (!match) return text;
  const [, sign, whole, rest] = match;
  return `${sign}${whole!.replace(/\B(?=(\d{3})+$)/g, ",")}${rest}`;
}

function plain(value: number): string {
  return Math.abs(value) < 1e21 ? String(value) : value.toExponential();
}

/** A number of things: 1 row, 2 rows. */
export function counted(count: number, thing: string): string {
  return `${number(count)} ${thing}${count === 1 ? "" : "s"}`;
}

/** A rate or a count in few characters: 7.4, 312, 12.5k, 3.1M. */
export function short(value: number): string {
  const size = Math.abs(value);
  const steps: [number, string][] = [
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ];
  for (const [step, unit] of steps) {
    if (size >= step)
      return `${trim(value / (unit === "k" ? 1e3 : step), size >= step * (unit === "k" ? 10 : 100) ? 0 : 1)}${unit}`;
  }
  return size >= 100 || Number.isInteger(value) ? number(Math.round(value)) : trim(value, 1);
}

function trim(value: number, digits: number): string {
  return value.toFixed(digits).replace(/\.0$/, "");
}

/** A rate: with a fraction where it is small. */
export function rate(value: number): string {
  return short(value >= 10 ? Math.round(value) : value);
}

/** The value of a measure: a number, a list of values with their counts, or whatever else a server may send. */
export function measure(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (isNumeric(value)) return number(value);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(entry).join(", ") || "–";
  return JSON.stringify(value);
}

function entry(item: unknown): string {
  if (item !== null && typeof item === "object" && "value" in item) {
    const counted = item as { value: unknown; count?: unknown };
    return counted.count === undefined
      ? measure(counted.value)
      : `${measure(counted.value)} (${measure(counted.count)})`;
  }
  return measure(item);
}

/** A dimension's value; the empty one is shown as such. */
export function dimension(value: unknown): string {
  return value === "" || value === null || value === undefined ? "(empty)" : String(value);
}

/** Letters that are written from right to left, and marks that turn the direction. */
const TURNING = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff]/;

/** Dimensions beside each other; one that runs from right to left stays in its place. */
export function dimensions(values: unknown[]): string {
  const texts = values.map(dimension);
  if (texts.length < 2) return texts.join("");
  return texts.map((text) => (TURNING.test(text) ? `\u2068${text}\u2069` : text)).join(" · ");
}

export function duration(ms: number): string {
  const size = Math.abs(ms);
  const units: [number, string][] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "m"],
    [1_000, "s"],
  ];
  const sign = ms < 0 ? "−" : "";
  if (size < 1_000) return `${sign}${Math.round(size)} ms`;
  const index = units.findIndex(([unit]) => size >= unit);
  const [unit, name] = units[index]!;
  const whole = Math.floor(size / unit);
  const next = units[index + 1];
  const rest = next ? Math.floor((size - whole * unit) / next[0]) : 0;
  return `${sign}${whole} ${name}${rest > 0 && next ? ` ${rest} ${next[1]}` : ""}`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  const power = Math.min(4, Math.floor(Math.log(value) / Math.log(1024)));
  return `${trim(value / 1024 ** power, 1)} ${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(ms: number, zone: string): Record<string, string> {
  if (zone === "UTC") return utcParts(ms);
  let format = formats.get(zone);
  if (!format) {
    const digits = {
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    } as const;
    format = new Intl.DateTimeFormat("en-GB", { ...digits, hourCycle: "h23", timeZone: zone });
    formats.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(ms).map((part) => [part.type, part.value]));
}

/** Many times are drawn every second, nearly all of them in UTC: this is faster by far. */
function utcParts(ms: number): Record<string, string> {
  const iso = new Date(ms).toISOString();
  const at = (start: number, end: number) => iso.slice(start, end);
  return {
    year: at(0, 4),
    month: at(5, 7),
    day: at(8, 10),
    hour: at(11, 13),
    minute: at(14, 16),
    second: at(17, 19),
  };
}

/** 12:04 or 12:04:05. */
export function clock(ms: number, zone = "UTC", withSeconds = false): string {
  const { hour, minute, second } = parts(ms, zone);
  return withSeconds ? `${hour}:${minute}:${second}` : `${hour}:${minute}`;
}

/** 2026-11-21 12:04, with seconds where there are some. */
export function moment(ms: number, zone = "UTC"): string {
  const { year, month, day, hour, minute, second } = parts(ms, zone);
  return `${year}-${month}-${day} ${hour}:${minute}${second === "00" ? "" : `:${second}`}`;
}

export const DAY_MS = 86_400_000;

/** The time below an axis that goes on in such steps: the date where days are, or where one begins. */
export function tick(ms: number, zone: string, step: number, span: number): string {
  const time = clock(ms, zone, step < 60_000);
  const isDate = step >= DAY_MS || (span > DAY_MS && clock(ms, zone) === "00:00");
  return isDate ? moment(ms, zone).slice(5, 10) : time;
}

/** A window in UTC: both ends with their date where it is a day or more. */
export function span(start: number, end: number): string {
  return `${moment(start)} – ${end - start >= DAY_MS ? moment(end) : clock(end, "UTC", end % 60_000 !== 0)}`;
}

/** The change from one number to another: +12 %, −3 %, new. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? "–" : "new";
  const percent = ((now - before) / Math.abs(before)) * 100;
  const size = Math.abs(percent);
  if (size < 0.5) return "±0 %";
  return `${percent > 0 ? "+" : "−"}${size >= 1_000 ? `${trim(size / 100 + (percent > 0 ? 1 : 0), 0)}×` : `${size.toFixed(0)} %`}`;
}
