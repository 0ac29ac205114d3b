// The four stations of an event's way: how much goes through each, and how held up it is. A station that cannot be asked
// is held up, however little it last had to do.
import * as format from "../format";
import type { Live, Partition } from "../live/state";

export interface Station {
  name: string;
  what: string;
  rate: number | null;
  facts: [string, string][];
  /** How held up it is, from 0 to 1, and why. */
  strain: number;
  strainIs: string;
}

/** Records behind which the fold counts as held up: some seconds of a busy server. */
const LAG_STRAINED = 100_000;
/** A flush that takes as long holds the fold up. */
const FLUSH_STRAINED_MS = 2_000;

export function stations(live: Live): Station[] {
  const partitions = live.stats.streams.flatMap((stream) => stream.partitions);
  return [door(live), log(live, partitions), fold(live, partitions), store(live, partitions)];
}

function pace(strain: number): string {
  if (strain < 0.5) return "keeps up";
  return strain < 0.9 ? "strained" : "held up";
}

function ms(value: number | null): string {
  return value === null ? "–" : `${format.short(value)} ms`;
}

function door({ stats: { total, process }, server }: Live): Station {
  const isHere = server.roles.includes("ingest");
  const inFlight = process.body_bytes_max > 0 ? process.body_bytes_in_flight / process.body_bytes_max : 0;
  return {
    name: "Door",
    what: "checks and answers",
    rate: total.received_per_second,
    strain: inFlight,
    strainIs: isHere
      ? `bodies in memory ${Math.round(inFlight * 100)} % of the budget`
      : "in other processes: this one takes no events",
    facts: [
      ["accepted", isHere ? format.number(process.accepted) : "–"],
      ["refused", isHere ? format.number(process.refused) : "–"],
      ["in memory", isHere ? format.bytes(process.body_bytes_in_flight) : "–"],
    ],
  };
}

function log({ stats: { total, process }, server }: Live, partitions: Partition[]): Station {
  const silent = partitions.filter((partition) => partition.log_end === null).length;
  return {
    name: "Log",
    what: server.log,
    rate: total.received_per_second,
    strain: silent > 0 ? 1 : 0,
    strainIs: silent > 0 ? `no answer from ${format.counted(silent, "partition")}` : "answers",
    facts: [
      ["durable in", ms(process.append_ms)],
      ["partitions", String(partitions.length)],
      ["records", format.number(total.received)],
    ],
  };
}

/** Whether how far the store is cannot be told. */
export function isStoreSilent(partitions: Partition[]): boolean {
  return partitions.some((partition) => partition.next_offset === null);
}

function fold({ stats: { total } }: Live, partitions: Partition[]): Station {
  const windows = partitions.map((partition) => partition.duplicate_window_bytes).filter((bytes) => bytes !== null);
  const isWaiting = isStoreSilent(partitions);
  const [strain, strainIs] = strainOfFold(total.lag, partitions, isWaiting);
  return {
    name: "Fold",
    what: "judges and counts",
    rate: total.written_per_second,
    strain,
    strainIs,
    facts: [
      ["waiting", isWaiting ? "–" : format.number(total.lag)],
      ["duplicates", format.number(total.duplicate)],
      // Its owner knows it, and where all are elsewhere nobody here does.
      ["id memory", windows.length === 0 ? "–" : format.bytes(windows.reduce((sum, bytes) => sum + bytes, 0))],
    ],
  };
}

function strainOfFold(lag: number, partitions: Partition[], isWaiting: boolean): [number, string] {
  const stopped = partitions.filter((partition) => partition.stopped !== null).length;
  if (stopped > 0) return [1, `${format.counted(stopped, "partition")} at a standstill`];
  if (isWaiting) return [1, "waits for the store"];
  const strain = Math.min(1, lag / LAG_STRAINED);
  return [strain, pace(strain)];
}

function store({ stats: { total, process }, server }: Live, partitions: Partition[]): Station {
  const flush = Math.min(1, (process.flush_ms ?? 0) / FLUSH_STRAINED_MS);
  const isSilent = isStoreSilent(partitions);
  return {
    name: "Store",
    what: server.store,
    rate: total.written_per_second,
    strain: isSilent ? 1 : flush,
    strainIs: isSilent ? "does not answer" : pace(flush),
    facts: [
      ["flush", ms(process.flush_ms)],
      ["tried again", server.roles.includes("process") ? format.number(process.flush_retries) : "–"],
      ["counted", format.number(total.written)],
    ],
  };
}
