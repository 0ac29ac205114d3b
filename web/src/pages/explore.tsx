// Any rollup over any range. The address holds the question; the answer is the server's, digit by digit.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { absolute, curl, get, why, withQuery } from "../api";
import { SERIES_MAX, SeriesChart } from "../charts/series";
import * as format from "../format";
import { live } from "../live/feed";
import { type Definition, type Row, windowState } from "../live/state";
import { param, route, setParams } from "../route";
import { Brief, Choice, Copy, Empty, Fault, Input, Panel, Toggle, useSeldom } from "../ui/parts";
import { Table } from "../ui/table";
import { pivot } from "./pivot";
import { chosenRollup } from "./overview";

const PAGE_ROWS = 1_000;
/** Between two questions about what goes on. */
const PAUSE_MS = 3_000;
const RANGES: [string, string][] = [
  ["-15m", "15 m"],
  ["-1h", "1 h"],
  ["-6h", "6 h"],
  ["-1d", "1 d"],
  ["-7d", "7 d"],
  ["", "all"],
];

interface Answer {
  data: Row[];
  /** Where there are rows, both ends are known. */
  range: { from: string; to: string; interval: string };
  as_of: { watermark: string | null };
  next_cursor: string | null;
}

export function Explore() {
  const now = live.value;
  if (!now) return <p class="quiet">Connecting…</p>;
  const name = chosenRollup(now);
  const definition = now.rollups.get(name)?.definition;
  if (!definition) return <Empty>There is no rollup. Define one in streamgauge.toml.</Empty>;
  const asked = param("rollup");
  return (
    <>
      {asked !== "" && asked !== name && (
        <Fault>
          There is no rollup {asked}. This is {name}.
        </Fault>
      )}
      <Question definition={definition} names={[...now.rollups.keys()]} />
    </>
  );
}

/** A range that shows some windows, where the address names none. */
function rangeFor({ window_ms: window }: Definition): string {
  if (window <= 60_000) return "-1h";
  if (window <= 900_000) return "-6h";
  return window <= 3_600_000 ? "-1d" : "-7d";
}

/** The server's path for what the address asks. */
function pathOf(definition: Definition): string {
  const filters = [...route.value.params].filter(
    ([key]) => key.startsWith("d.") && definition.by.includes(key.slice(2)),
  );
  return withQuery(`v1/rollups/${encodeURIComponent(definition.name)}`, {
    from: param("from", rangeFor(definition)) || null,
    to: param("to") || null,
    interval: param("interval") || null,
    tz: param("tz") || null,
    fill: param("fill") || null,
    ...Object.fromEntries(filters.map(([key, value]) => [key.slice(2), value])),
  });
}

function Question({ definition, names }: { definition: Definition; names: string[] }) {
  const zones = useMemo(
    () => (
      <datalist id="zones">
        {Intl.supportedValuesOf("timeZone").map((zone) => (
          <option key={zone} value={zone} />
        ))}
      </datalist>
    ),
    [],
  );
  const from = param("from", rangeFor(definition));
  const choose = (rollup: string) => {
    const dropped = [...route.value.params.keys()].filter((key) => key.startsWith("d."));
    setParams({ ...Object.fromEntries(dropped.map((key) => [key, null])), rollup, measure: null });
  };
  const filter = (name: string) => route.value.params.get(`d.${name}`);
  return (
    <>
      <Panel title="Question">
        <form class="question of-rollup" onSubmit={(event) => event.preventDefault()}>
          <Choice label="Rollup" value={definition.name} options={names} onChange={choose} />
          <div class="field">
            <span>Range</span>
            <Toggle
              label="Range"
              value={param("to") === "" ? from : "-"}
              options={RANGES}
              onChange={(value) => setParams({ from: value, to: null })}
            />
          </div>
          <Input
            label="From"
            value={from}
            placeholder="-1h or 2026-01-01T00:00Z"
            onChange={(value) => setParams({ from: value })}
          />
          <Input
            label="To"
            value={param("to")}
            placeholder="now"
            onChange={(value) => setParams({ to: value || null })}
          />
          <Input
            label="Interval"
            value={param("interval")}
            placeholder={format.duration(definition.window_ms).replace(" ", "")}
            onChange={(value) => setParams({ interval: value || null })}
          />
          <Input
            label="Time zone"
            value={param("tz")}
            placeholder="UTC"
            list="zones"
            onChange={(value) => setParams({ tz: value || null })}
          />
          {zones}
          {definition.by.map((name) => (
            <Input
              key={name}
              label={name}
              value={filter(name) ?? ""}
              placeholder="any"
              onChange={(value) => setParams({ [`d.${name}`]: value || null })}
            />
          ))}
          <Choice
            label="Gaps"
            value={param("fill")}
            options={[
              ["", "as they are"],
              ["zero", "as zeros"],
            ]}
            onChange={(value) => setParams({ fill: value || null })}
          />
        </form>
      </Panel>
      <Found definition={definition} path={pathOf(definition)} />
    </>
  );
}

function Found({ definition, path }: { definition: Definition; path: string }) {
  const answer = useSignal<Answer | null>(null);
  const fault = useSignal("");
  const isAsking = useSignal(false);
  const version = live.value?.rollups.get(definition.name)?.version ?? 0;
  // What ends now changes with every event; what ended before does only when it is corrected.
  const isOpenEnded = param("to") === "";
  const isShort = (answer.value?.data.length ?? 0) < PAGE_ROWS;
  const turn = useSeldom(version, PAUSE_MS);
  useEffect(() => {
    const gone = new AbortController();
    isAsking.value = true;
    const timer = setTimeout(async () => {
      try {
        answer.value = await get<Answer>(`${path}${path.includes("?") ? "&" : "?"}limit=${PAGE_ROWS}`, gone.signal);
        fault.value = "";
      } catch (error) {
        if (gone.signal.aborted) return;
        fault.value = why(error);
        answer.value = null;
      }
      isAsking.value = false;
    }, 150);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [path, isOpenEnded && isShort ? turn : 0]);
  const more = async () => {
    const known = answer.value;
    if (!known?.next_cursor) return;
    try {
      const next = await get<Answer>(
        `${path}${path.includes("?") ? "&" : "?"}limit=${PAGE_ROWS}&cursor=${known.next_cursor}`,
      );
      answer.value = { ...next, data: [...known.data, ...next.data] };
    } catch (error) {
      fault.value = why(error);
    }
  };
  const found = answer.value;
  // What is live changes every second, these only with an answer: a thousand rows are not drawn anew for nothing.
  const rows = useMemo(
    () => found && found.data.length > 0 && <Rows definition={definition} answer={found} onMore={more} />,
    [found, definition, path],
  );
  const csv = `${path}${path.includes("?") ? "&" : "?"}format=csv&limit=10000`;
  const tools = (
    <>
      <a class="button" href={absolute(csv)} download={`${definition.name}.csv`}>
        CSV
      </a>
      <Copy text={curl(path)} label="Copy as curl" />
    </>
  );
  return (
    <Panel title={definition.name} tools={tools}>
      {fault.value && <Fault>{fault.value}</Fault>}
      {!answer.value && !fault.value && <p class="quiet">Asking…</p>}
      {answer.value && answer.value.data.length === 0 && (
        <Empty>
          {param("from", rangeFor(definition)) === "" && isOpenEnded ? (
            "No rows yet, or none that match."
          ) : (
            <>
              No rows in this range.{" "}
              <button type="button" class="link" onClick={() => setParams({ from: "", to: null })}>
                Show all times
              </button>
            </>
          )}
        </Empty>
      )}
      {rows}
    </Panel>
  );
}

function Rows({ definition, answer, onMore }: { definition: Definition; answer: Answer; onMore: () => void }) {
  const drawable = definition.measures.filter(({ fn }) => fn !== "top");
  const measure = drawable.find(({ name }) => name === param("measure")) ?? drawable[0];
  const zone = zoneOf(param("tz"));
  const rows = answer.data;
  const chart = measure && pivot(definition, measure.name, rows, SERIES_MAX);
  const windows = new Set(rows.map((row) => row.window_start)).size;
  const summary = `${format.counted(rows.length, "row")} in ${format.counted(windows, "window")}, ${format.moment(Date.parse(answer.range.from), zone)} to ${format.moment(Date.parse(answer.range.to), zone)} ${zone}`;
  return (
    <>
      <div class="chart-head">
        <p class="quiet summary">{summary}</p>
        {measure && (
          <Choice
            label="Measure"
            value={measure.name}
            options={drawable.map(({ name }) => name)}
            onChange={(value) => setParams({ measure: value })}
          />
        )}
      </div>
      {measure && chart && chart.series.length > 0 && (
        <>
          <SeriesChart
            times={chart.times}
            series={chart.series}
            zone={zone}
            isStepped={measure.fn === "level"}
            digits={["sum", "min", "max"].includes(measure.fn) ? measure.scale : undefined}
            label={`${measure.name} over time; the table below has the numbers`}
            range={[Date.parse(answer.range.from), Date.parse(answer.range.to)]}
            onSelect={(from, to) => setParams({ from: onSecond(from), to: onSecond(to) })}
          />
          {chart.left > 0 && (
            <p class="quiet">
              The {SERIES_MAX} largest are drawn; {format.number(chart.left)} more are in the table.
            </p>
          )}
        </>
      )}
      <RowsTable definition={definition} rows={rows} zone={zone} watermark={answer.as_of.watermark} />
      {answer.next_cursor && (
        <p class="row-of-buttons">
          <button type="button" class="button" onClick={onMore}>
            More rows
          </button>
        </p>
      )}
    </>
  );
}

function onSecond(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function zoneOf(text: string): string {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text || "UTC" }).resolvedOptions().timeZone;
  } catch {
    return "UTC";
  }
}

const STATES = { open: "open", grace: "in its grace", final: "final" };

/** What a row's window is, in words. */
function stateOf(row: Row, watermark: string | null): string {
  if (row.is_final && row.revision > 0) return `corrected ${row.revision}×`;
  const end = Date.parse(row.window_end);
  return STATES[windowState(end, watermark ? Date.parse(watermark) : -Infinity, row.is_final ? end : -Infinity)];
}

function RowsTable({
  definition,
  rows,
  zone,
  watermark,
}: {
  definition: Definition;
  rows: Row[];
  zone: string;
  watermark: string | null;
}) {
  const newest = [...rows].reverse();
  return (
    <Table
      caption={`Rows of ${definition.name}`}
      items={newest}
      keyOf={(row) => row.window_start + definition.by.map((name) => String(row[name])).join("\u0000")}
      columns={[
        {
          name: `Window (${zone})`,
          show: (row) => <time dateTime={row.window_start}>{format.moment(Date.parse(row.window_start), zone)}</time>,
        },
        ...definition.by.map((name) => ({ name, show: (row: Row) => <Brief text={format.dimension(row[name])} /> })),
        ...definition.measures.map(({ name }) => ({
          name,
          isNumber: true,
          show: (row: Row) => format.measure(row[name]),
        })),
        { name: "Late", isNumber: true, show: (row) => format.measure(row["late_count"]) },
        {
          name: "State",
          show: (row) => <span class={row.is_final ? "tag final" : "tag open"}>{stateOf(row, watermark)}</span>,
        },
      ]}
    />
  );
}
