import { expect, it } from "vitest";
import type { Live, Partition, Process } from "../live/state";
import { stations } from "./stations";

const PARTITION: Partition = {
  partition: 0,
  log_end: 10,
  next_offset: 10,
  lag: 0,
  m: null,
  is_idle: false,
  owner: "a",
  folded: 10,
  duplicate_window_bytes: 2_048,
  stopped: null,
};

const ALL = ["ingest", "process", "query"];

function of(
  partition: Partial<Partition>,
  process: Partial<Process> = {},
  lag = 0,
  partitions = [PARTITION],
  roles = ALL,
) {
  const total = { received: 10, written: 10, lag, received_per_second: 5, written_per_second: 5, duplicate: 0 };
  const stats = {
    total,
    streams: [{ partitions: [...partitions, { ...PARTITION, ...partition }] }],
    process: {
      accepted: 0,
      refused: 0,
      body_bytes_in_flight: 0,
      body_bytes_max: 100,
      flush_ms: 3,
      flush_retries: 0,
      append_ms: 1,
      ...process,
    },
  };
  return stations({ stats, server: { log: "embedded", store: "sqlite", roles } } as unknown as Live);
}

function strains(partition: Partial<Partition>, process: Partial<Process> = {}, lag = 0): Record<string, string> {
  const all = of(partition, process, lag);
  return Object.fromEntries(all.map(({ name, strain, strainIs }) => [name, `${strain} ${strainIs}`]));
}

it("says that all keep up", () => {
  expect(strains({})).toEqual({
    Door: "0 bodies in memory 0 % of the budget",
    Log: "0 answers",
    Fold: "0 keeps up",
    Store: "0.0015 keeps up",
  });
});

it("says who is held up", () => {
  expect(strains({}, { body_bytes_in_flight: 95 })["Door"]).toBe("0.95 bodies in memory 95 % of the budget");
  expect(strains({}, {}, 60_000)["Fold"]).toBe("0.6 strained");
  expect(strains({}, {}, 1_000_000)["Fold"]).toBe("1 held up");
  expect(strains({}, { flush_ms: 1_900 })["Store"]).toBe("0.95 held up");
  expect(strains({}, { flush_ms: 9_000 })["Store"]).toBe("1 held up");
});

it("does not take silence for ease", () => {
  const away = strains({ next_offset: null, lag: null, owner: null });
  expect([away["Fold"], away["Store"]]).toEqual(["1 waits for the store", "1 does not answer"]);
  expect(strains({ log_end: null })["Log"]).toBe("1 no answer from 1 partition");
  expect(strains({ stopped: "data that the store refuses" })["Fold"]).toBe("1 1 partition at a standstill");
});

it("has no numbers for what other processes do", () => {
  const elsewhere = { folded: null, duplicate_window_bytes: null, owner: "b" };
  const told = of(elsewhere, { flush_ms: null, append_ms: null }, 0, [], ["query"]);
  const facts = Object.fromEntries(told.flatMap((station) => station.facts));
  expect(facts).toMatchObject({
    accepted: "–",
    refused: "–",
    "in memory": "–",
    "durable in": "–",
    "id memory": "–",
    flush: "–",
    "tried again": "–",
    records: "10",
    counted: "10",
  });
  expect(told[0]!.strainIs).toBe("in other processes: this one takes no events");
});
