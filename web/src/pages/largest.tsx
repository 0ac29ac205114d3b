// The largest of a rollup in the time that the chart above shows, beside the time before.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get, why, withQuery } from "../api";
import { Spark } from "../charts/spark";
import { isNumeric, toDraw } from "../exact";
import * as format from "../format";
import { isPaused } from "../live/feed";
import { type Definition, type Live, type Row, slots, watermarkOf } from "../live/state";
import { href, param, setParams } from "../route";
import { Brief, Choice, Empty, Fault, Panel } from "../ui/parts";
import { Table } from "../ui/table";
import { chosenRollup } from "./overview";
import { type Entry, grouped, isAdditive, seriesOf } from "./ranking";

const SHOWN = 10;
/** Combinations that are asked for: shares are of all of these. */
const ASKED = 1_000;
/** Between two questions, at least; */
const PAUSE_MS = 4_000;
/** and so many times what the last answer took. */
const PAUSE_TIMES = 8;
/** Rows of one answer: a screen of windows of some thirty combinations. */
const ROWS = 1_000;

interface Rows {
  data: Row[];
  next_cursor: string | null;
}

interface Answer {
  entries: Entry[];
  total: number;
  before: Map<string, number>;
  series: Map<string, (number | null)[]>;
  /** Whether there are too many combinations to ask for all their rows at once. */
  areMany: boolean;
}

export function Largest({ live }: { live: Live }) {
  const name = chosenRollup(live);
  const rollup = live.rollups.get(name)!;
  const { definition, version } = rollup;
  // The heavy hitters of a cell are a list: nothing to rank by.
  const ranked = definition.measures.filter(({ fn }) => fn !== "top").map(({ name }) => name);
  const measure = ranked.includes(param("measure")) ? param("measure") : (ranked[0] ?? "");
  const dimension = definition.by.includes(param("by")) && isAdditive(definition, measure) ? param("by") : "";
  const range = slots(rollup, watermarkOf(live, definition.stream), Date.parse(live.stats.at), 30);
  const [from, to] = [range[0]!.start, range.at(-1)!.end];
  const { answer, fault } = useLargest(definition, measure, dimension, from, to, version);
  const tools = (
    <>
      {definition.by.length > 1 && isAdditive(definition, measure) && (
        <Choice
          label="By"
          value={dimension}
          options={[["", "every combination"], ...definition.by.map((by): [string, string] => [by, by])]}
          onChange={(value) => setParams({ by: value || null })}
        />
      )}
      <Choice label="Measure" value={measure} options={ranked} onChange={(value) => setParams({ measure: value })} />
    </>
  );
  return (
    <Panel
      title={`Top ${dimension || definition.by.join(" · ") || "values"}`}
      tools={tools}
      note={`${measure}, ${format.moment(from)} to ${format.clock(to)} UTC, beside the same time before`}
    >
      {fault && <Fault>{fault}</Fault>}
      {answer && answer.entries.length === 0 && <Empty>Nothing in this time.</Empty>}
      {answer && answer.entries.length > 0 && (
        <Ranking definition={definition} measure={measure} answer={answer} from={from} />
      )}
    </Panel>
  );
}

function Ranking({
  definition,
  measure,
  answer,
  from,
}: {
  definition: Definition;
  measure: string;
  answer: Answer;
  from: number;
}) {
  const fn = definition.measures.find(({ name }) => name === measure)?.fn;
  // Only what adds up has shares, and what is negative has none worth saying.
  const hasShares = (fn === "count" || fn === "sum") && answer.entries.every(({ value }) => (toDraw(value) ?? 0) >= 0);
  const share = (entry: Entry) => (answer.total > 0 ? (toDraw(entry.value) ?? 0) / answer.total : 0);
  const most = Math.max(...answer.entries.map(share), 1e-9);
  const shares = {
    name: "Share",
    isNumber: true,
    show: (entry: Entry) =>
      isNumeric(entry.value) && (
        <span class="share">
          <svg width="100%" height="6" aria-hidden="true">
            <rect width="100%" height="6" rx="3" class="track" />
            <rect width={`${Math.max(0, (share(entry) / most) * 100)}%`} height="6" rx="3" class="fill" />
          </svg>
          {(share(entry) * 100).toFixed(share(entry) < 0.1 ? 1 : 0)} %
        </span>
      ),
  };
  const filter = (entry: Entry) =>
    Object.fromEntries(Object.entries(entry.dimensions).map(([name, value]) => [`d.${name}`, String(value)]));
  return (
    <Table
      caption={`Largest by ${measure}`}
      items={answer.entries}
      keyOf={(entry) => entry.key}
      columns={[
        {
          name: definition.by.join(" · ") || "all",
          show: (entry) => (
            <a
              class="plain"
              href={href("explore", { rollup: definition.name, from: new Date(from).toISOString(), ...filter(entry) })}
            >
              <Brief text={format.dimensions(Object.values(entry.dimensions)) || "all"} />
            </a>
          ),
        },
        { name: measure, isNumber: true, show: (entry) => format.measure(entry.value) },
        ...(hasShares ? [shares] : []),
        { name: "Course", isExtra: true, show: (entry) => <Spark values={answer.series.get(entry.key) ?? []} /> },
        {
          name: "Change",
          isNumber: true,
          show: (entry) => <Change now={toDraw(entry.value)} before={answer.before.get(entry.key) ?? 0} />,
        },
      ]}
    />
  );
}

function Change({ now, before }: { now: number | null; before: number }) {
  if (now === null) return <>–</>;
  const text = format.change(now, before);
  const kind = text.startsWith("+") || text === "new" ? "up" : text.startsWith("−") ? "down" : "same";
  return <span class={`change ${kind}`}>{text}</span>;
}

/** Asks the server anew when something has changed, but not more often than every few seconds. */
function useLargest(
  definition: Definition,
  measure: string,
  dimension: string,
  from: number,
  to: number,
  version: number,
) {
  const answer = useSignal<{ what: string; found: Answer } | null>(null);
  const fault = useSignal("");
  const asked = useRef({ at: 0, what: "", pause: PAUSE_MS });
  const what = JSON.stringify([definition.name, measure, dimension]);
  const state = JSON.stringify([what, from, version]);
  useEffect(() => {
    const isOther = asked.current.what !== what;
    if (isPaused.value && !isOther) return;
    const timer = setTimeout(
      async () => {
        const began = Date.now();
        asked.current = { at: began, what, pause: PAUSE_MS };
        try {
          const known = answer.value?.what === what && answer.value.found;
          const found = await ask(definition, measure, dimension, from, to, known ? known.areMany : false);
          if (asked.current.what !== what) return;
          asked.current.pause = Math.max(PAUSE_MS, (Date.now() - began) * PAUSE_TIMES);
          answer.value = { what, found };
          fault.value = "";
        } catch (error) {
          fault.value = why(error);
        }
      },
      isOther ? 0 : Math.max(0, asked.current.at + asked.current.pause - Date.now()),
    );
    // One that is under way may end: what comes meanwhile asks again after the pause.
    return () => clearTimeout(timer);
  }, [state]);
  return { answer: answer.value?.what === what ? answer.value.found : null, fault: fault.value };
}

async function ask(
  definition: Definition,
  measure: string,
  dimension: string,
  from: number,
  to: number,
  wereMany: boolean,
): Promise<Answer> {
  const path = `v1/rollups/${encodeURIComponent(definition.name)}`;
  const top = (start: number, end: number) =>
    get<{ data: Row[] }>(withQuery(`${path}/top`, { by: measure, n: ASKED, from: start, to: end }));
  const rowsOf = (dimensions: Record<string, unknown>) => {
    const filters = Object.entries(dimensions).map(([name, value]) => [name, String(value)]);
    return get<Rows>(withQuery(path, { from, to, limit: ROWS, ...Object.fromEntries(filters) }));
  };
  const [now, before, all] = await Promise.all([top(from, to), top(2 * from - to, from), wereMany ? null : rowsOf({})]);
  const areMany = all === null || all.next_cursor !== null;
  const entries = grouped(definition, measure, dimension, now.data);
  const previous = grouped(definition, measure, dimension, before.data);
  const shown = entries.slice(0, SHOWN);
  // Where there are too many to ask for all at once, those that are shown are asked for by themselves.
  const courses = areMany ? await Promise.all(shown.map((entry) => rowsOf(entry.dimensions))) : [all];
  const rows = courses.filter((course) => course.next_cursor === null).flatMap((course) => course.data);
  return {
    entries: shown,
    total: entries.reduce((sum, entry) => sum + Math.max(0, toDraw(entry.value) ?? 0), 0),
    before: new Map(previous.map((entry) => [entry.key, toDraw(entry.value) ?? 0])),
    series: seriesOf(definition, measure, dimension, rows, from, to),
    areMany,
  };
}
