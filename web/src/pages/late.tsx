// What came too late, and what could not be counted at all.
import { useComputed, useSignal } from "@preact/signals";
import { get, why, withQuery } from "../api";
import { Histogram, type Bucket } from "../charts/histogram";
import * as format from "../format";
import { live } from "../live/feed";
import { param, setParams } from "../route";
import { Brief, Empty, Fault, Panel, Toggle, usePolling } from "../ui/parts";
import { Table } from "../ui/table";
import { DeadLetters } from "./dead-letters";

const EVERY_MS = 10_000;
const RANGES: [string, string][] = [
  ["-1h", "1 h"],
  ["-1d", "1 d"],
  ["-7d", "7 d"],
  ["all", "all"],
];

interface Summary {
  rollup: string;
  policy: "correct" | "divert";
  grace_ms: number;
  counted: number;
  late: number;
  is_complete: boolean;
  histogram?: Bucket[];
  grace_ms_for_999_of_1000?: number;
}

interface LateEvent {
  rollup: string;
  partition: number;
  offset: number;
  event_id: string;
  timestamp: string;
  received_at: string;
  window_start: string;
  late_by_ms: number;
  dimensions: Record<string, string>;
  raw: string;
}

export function Late() {
  const answer = useSignal<{ data: LateEvent[]; summary: Summary[] } | null>(null);
  const fault = useSignal("");
  const range = param("range", "-1d");
  usePolling(EVERY_MS, [range], async (signal) => {
    try {
      answer.value = await get(withQuery("v1/late", { from: range === "all" ? null : range, limit: 50 }), signal);
      fault.value = "";
    } catch (error) {
      if (!signal.aborted) fault.value = why(error);
    }
  });
  const isKnown = useComputed(() => live.value !== null);
  return (
    <>
      <Panel
        title="Late events"
        tools={
          <Toggle label="Range" value={range} options={RANGES} onChange={(value) => setParams({ range: value })} />
        }
        note="Of events that happened in this time. An event is late when its window’s grace was over before it came."
      >
        {fault.value && <Fault>{fault.value}</Fault>}
        {!answer.value && !fault.value && <p class="quiet">Asking…</p>}
        {answer.value && <Shares summaries={answer.value.summary} />}
        <div class="cards">
          {answer.value?.summary
            .filter(({ histogram, late }) => histogram && late > 0)
            .map((summary) => (
              <Card key={summary.rollup} summary={summary} />
            ))}
        </div>
        {answer.value && answer.value.data.length > 0 && <Diverted events={answer.value.data} />}
      </Panel>
      {isKnown.value && <DeadLetters />}
    </>
  );
}

/** How much of each rollup was late, and what becomes of that. */
function Shares({ summaries }: { summaries: Summary[] }) {
  const share = ({ policy, counted, late }: Summary) => {
    const all = policy === "divert" ? counted + late : counted;
    return all > 0 ? `${((late / all) * 100).toFixed(late > 0 && late / all < 0.01 ? 2 : 1)} %` : "–";
  };
  return (
    <Table
      caption="Late events by rollup"
      items={summaries}
      keyOf={({ rollup }) => rollup}
      columns={[
        { name: "Rollup", show: ({ rollup }) => rollup },
        {
          name: "Late",
          isNumber: true,
          show: ({ late, is_complete: isComplete }) => `${isComplete ? "" : "≥ "}${format.number(late)}`,
        },
        { name: "Share", isNumber: true, show: share },
        { name: "Counted", isNumber: true, show: ({ counted }) => format.number(counted) },
        { name: "Grace", isNumber: true, show: ({ grace_ms: grace }) => format.duration(grace) },
        {
          name: "Late events are",
          show: ({ policy }) => (policy === "divert" ? "put in the late lane" : "counted as corrections"),
        },
      ]}
    />
  );
}

function Card({ summary }: { summary: Summary }) {
  const { rollup, grace_ms: grace, is_complete: isComplete, histogram } = summary;
  const enough = summary.grace_ms_for_999_of_1000;
  return (
    <article class="card" aria-label={rollup}>
      <h3>How late in {rollup}</h3>
      {histogram && <Histogram name={`Lateness in ${rollup}`} buckets={histogram} grace={grace} />}
      {enough !== undefined && (
        <p class="advice">
          {enough > grace ? (
            <>
              A grace of <strong>{format.duration(enough)}</strong> would have caught 99.9 %.
            </>
          ) : (
            <>The grace of {format.duration(grace)} catches at least 99.9 %.</>
          )}
          {!isComplete && " Of those looked at: the newest 20,000."}
        </p>
      )}
    </article>
  );
}

function Diverted({ events }: { events: LateEvent[] }) {
  return (
    <>
      <h3 class="under-head">Newest in the late lane</h3>
      <Table
        caption="Late events"
        items={events}
        keyOf={(event) => `${event.rollup}/${event.partition}/${event.offset}`}
        columns={[
          { name: "Happened (UTC)", show: (event) => format.moment(Date.parse(event.timestamp)) },
          { name: "Late by", isNumber: true, show: (event) => format.duration(event.late_by_ms) },
          { name: "Rollup", show: (event) => event.rollup },
          { name: "Of", show: (event) => <Brief text={format.dimensions(Object.values(event.dimensions))} /> },
          { name: "Event", show: (event) => <code class="raw">{event.raw}</code> },
        ]}
      />
      {events.length === 0 && <Empty>None.</Empty>}
    </>
  );
}
