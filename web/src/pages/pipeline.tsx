// The way of an event, how far each part of it is, and where it is held up.
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { command, why } from "../api";
import { Windows } from "../charts/windows";
import * as format from "../format";
import { live } from "../live/feed";
import type { Live, Partition, Stream } from "../live/state";
import { Panel, ScopedButton } from "../ui/parts";
import { Table } from "../ui/table";
import { Archive } from "./archive";
import { stations } from "./stations";

export function Pipeline() {
  const now = live.value;
  if (!now) return <p class="quiet">Connecting…</p>;
  return (
    <>
      <Panel title="The way of an event" tools={<Flush />}>
        <Strip live={now} />
      </Panel>
      <Panel
        title="Windows"
        note="By event time. A window is open until the watermark passes its end, in its grace until the grace is over, then final."
      >
        <Windows live={now} />
      </Panel>
      <Panel title="Partitions">
        <Partitions streams={now.stats.streams} now={Date.parse(now.stats.at)} />
      </Panel>
      <Archive />
    </>
  );
}

function Strip({ live }: { live: Live }) {
  const slowest = live.stats.streams
    .filter((stream) => stream.watermark !== null)
    .sort((left, right) => Date.parse(left.watermark!) - Date.parse(right.watermark!))[0];
  return (
    <>
      <ol class="strip">
        {stations(live).map((station) => (
          <li
            key={station.name}
            class={station.strain >= 0.9 ? "station bad" : station.strain >= 0.5 ? "station strained" : "station"}
          >
            <h3>
              {station.name} <span class="quiet">{station.what}</span>
            </h3>
            <p class="rate">
              <span class="value">{station.rate === null ? "–" : format.rate(station.rate)}</span>{" "}
              <span class="unit">events/s</span>
            </p>
            <dl>
              {station.facts.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
            <div
              class="meter"
              role="meter"
              aria-label={`${station.name}: back-pressure`}
              aria-valuemin={0}
              aria-valuemax={100}
              aria-valuenow={Math.round(station.strain * 100)}
              aria-valuetext={station.strainIs}
            >
              <svg width="100%" height="4" aria-hidden="true">
                <rect width="100%" height="4" class="track" />
                <rect width={`${station.strain * 100}%`} height="4" class="fill" />
              </svg>
            </div>
            <p class="quiet strain">{station.strainIs}</p>
          </li>
        ))}
      </ol>
      <p class="quiet">
        {slowest ? (
          <>
            Watermark {format.moment(Date.parse(slowest.watermark!))} UTC on <code>{slowest.name}</code>,{" "}
            {format.duration(Date.parse(live.stats.at) - Date.parse(slowest.watermark!))} behind now.
          </>
        ) : live.stats.total.written > 0 ? (
          "The watermark is not known now."
        ) : (
          "No watermark yet: nothing has been counted."
        )}
      </p>
    </>
  );
}

function stateOf({ stopped, next_offset: stored, owner, is_idle: isIdle }: Partition): string {
  if (stopped) return stopped;
  if (stored === null) return "not known";
  if (!owner) return "nobody’s yet";
  return isIdle ? "idle" : "works";
}

function Partitions({ streams, now }: { streams: Stream[]; now: number }) {
  const rows = streams.flatMap((stream) =>
    stream.partitions.map((partition) => ({ stream: stream.name, ...partition })),
  );
  const count = (value: number | null) => (value === null ? "–" : format.number(value));
  return (
    <Table
      caption="Partitions"
      items={rows}
      keyOf={(row) => `${row.stream}/${row.partition}`}
      classOf={(row) => (row.stopped ? "bad" : "")}
      columns={[
        { name: "Stream", show: (row) => row.stream },
        { name: "Partition", isNumber: true, show: (row) => row.partition },
        { name: "Log end", isNumber: true, show: (row) => count(row.log_end) },
        { name: "In store", isNumber: true, show: (row) => count(row.next_offset) },
        { name: "Waiting", isNumber: true, show: (row) => count(row.lag) },
        {
          name: "Newest event",
          show: (row) => (row.m ? <span title={row.m}>{format.duration(now - Date.parse(row.m))} ago</span> : "–"),
        },
        { name: "State", show: stateOf },
        { name: "Owner", show: (row) => row.owner || "–" },
      ]}
    />
  );
}

function Flush() {
  const dialog = useRef<HTMLDialogElement>(null);
  const said = useSignal("");
  const flush = async () => {
    dialog.current?.close();
    said.value = "Flushing…";
    try {
      const report = await command<{ flushed_events: number; flushed_windows: number; took_ms: number }>("v1/flush");
      said.value = `${format.number(report.flushed_events)} events in ${format.number(report.flushed_windows)} cells, ${report.took_ms} ms`;
    } catch (error) {
      said.value = why(error);
    }
  };
  return (
    <>
      <span class="quiet" role="status">
        {said.value}
      </span>
      <ScopedButton scope="admin" onClick={() => dialog.current?.showModal()}>
        Flush now
      </ScopedButton>
      <dialog ref={dialog} aria-labelledby="flush-title">
        <h2 id="flush-title">Write now what is in memory?</h2>
        <p>
          It is written by itself at the next flush. This only brings that forward; nothing is closed early and nothing
          is lost either way.
        </p>
        <form method="dialog" class="row-of-buttons">
          <button type="button" class="button main" onClick={flush}>
            Flush now
          </button>
          <button class="button">Cancel</button>
        </form>
      </dialog>
    </>
  );
}
