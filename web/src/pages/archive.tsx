// What goes into files: how far behind they are, and what keeps them from being written.
import { useSignal } from "@preact/signals";
import { get, why } from "../api";
import * as format from "../format";
import { Empty, Fault, Panel, usePolling } from "../ui/parts";
import { Table } from "../ui/table";

const EVERY_MS = 5_000;

interface Archived {
  places: Record<string, string>;
  partitions: {
    stream: string;
    partition: number;
    lag: number | null;
    lag_seconds: number | null;
    lost: number | null;
    failing: string | null;
    stopped: string | null;
  }[];
  lines: { stream: string; kind: string; place: string; lag: number; lag_seconds: number; failing: string | null }[];
}

interface Row {
  what: string;
  place: string;
  waiting: number | null;
  oldest: number | null;
  state: string;
  isBad: boolean;
}

export function Archive() {
  const archived = useSignal<Archived | null | undefined>(undefined);
  const fault = useSignal("");
  usePolling(EVERY_MS, [], async (signal) => {
    try {
      archived.value = (await get<{ archive: Archived | null }>("v1/status", signal)).archive;
      fault.value = "";
    } catch (error) {
      if (!signal.aborted) fault.value = why(error);
    }
  });
  return (
    <Panel title="Archive">
      {fault.value && <Fault>{fault.value}</Fault>}
      {archived.value === undefined && !fault.value && <p class="quiet">Asking…</p>}
      {archived.value === null && (
        <Empty>
          No files are written. <code>streamgauge serve --archive file:./archive</code> begins with it.
        </Empty>
      )}
      {archived.value && <Files rows={rows(archived.value)} />}
    </Panel>
  );
}

function rows({ places, partitions, lines }: Archived): Row[] {
  const state = (stopped: string | null, failing: string | null, waiting: number | null) =>
    stopped ?? failing ?? (waiting === 0 ? "all in files" : "gathers");
  const raw = partitions.map(({ stream, partition, lag, lag_seconds: oldest, lost, failing, stopped }): Row => ({
    what: `${stream} · partition ${partition}`,
    place: places[stream] ?? "–",
    waiting: lag,
    oldest,
    state: lost ? `${format.counted(lost, "record")} left the log unarchived` : state(stopped, failing, lag),
    isBad: Boolean(stopped || failing || lost),
  }));
  const others = lines.map(({ stream, kind, place, lag, lag_seconds: oldest, failing }): Row => ({
    what: `${stream} · ${kind === "late" ? "late events" : "closed windows"}`,
    place,
    waiting: lag,
    oldest,
    state: state(null, failing, lag),
    isBad: failing !== null,
  }));
  return [...raw, ...others];
}

function Files({ rows }: { rows: Row[] }) {
  return (
    <Table
      caption="Archive"
      items={rows}
      keyOf={({ what }) => what}
      classOf={({ isBad }) => (isBad ? "bad" : "")}
      columns={[
        { name: "What", show: ({ what }) => what },
        { name: "Waiting", isNumber: true, show: ({ waiting }) => (waiting === null ? "–" : format.number(waiting)) },
        {
          name: "Oldest waits",
          show: ({ oldest, waiting }) => (oldest === null || !waiting ? "–" : format.duration(oldest * 1_000)),
        },
        { name: "State", show: ({ state }) => state },
        { name: "Where", show: ({ place }) => <code>{place}</code> },
      ]}
    />
  );
}
