// How much is coming in, and what it is.
import { useSignal } from "@preact/signals";
import { Bars } from "../charts/bars";
import { Spark } from "../charts/spark";
import * as format from "../format";
import { live } from "../live/feed";
import { type Live, type Rollup, slots, watermarkOf } from "../live/state";
import { param, setParams } from "../route";
import { Choice, Figure, Panel } from "../ui/parts";
import { FirstMinute, isFirst } from "./first-minute";
import { Largest } from "./largest";
import { isStoreSilent } from "./stations";

/** Panes in the chart. */
const SLOTS = 30;
/** Seconds in the line beside the rate. */
const COURSE = 120;
/** Fewer make a stroke and no course. */
const COURSE_MIN = 5;

export function Overview() {
  const now = live.value;
  const isEmptyGone = useSignal(false);
  if (!now) return <p class="quiet">Connecting…</p>;
  const isEmpty = now.stats.total.received === 0;
  if ((isEmpty || isFirst.value) && !isEmptyGone.value)
    return <FirstMinute live={now} onGone={() => (isEmptyGone.value = true)} />;
  return (
    <>
      <Now live={now} />
      <Recent live={now} />
      <Largest live={now} />
    </>
  );
}

function Now({ live: { stats, rates } }: { live: Live }) {
  const { total } = stats;
  const partitions = stats.streams.flatMap((stream) => stream.partitions);
  const rate = total.received_per_second;
  const minute = total.last_minute;
  const known = rates.slice(-COURSE).map(({ received }) => received);
  // What was before the page was opened is not known: the line grows from the right.
  const recent = [...Array.from({ length: COURSE - known.length }, () => null), ...known];
  return (
    <section class="hero" aria-label="Now">
      <dl class="now">
        <div class="figure large first">
          <dt>Events per second</dt>
          <dd>
            <span class="value" data-figure="rate">
              {rate === null ? "–" : format.rate(rate)}
            </span>
            {known.length >= COURSE_MIN && <Spark values={recent} width={220} height={44} isFilled />}
          </dd>
        </div>
        <Figure
          large
          name="Last minute"
          value={minute ? format.number(minute.events) : "–"}
          note={minute && minute.seconds < 55 ? `${minute.seconds} s of it seen so far` : undefined}
        />
        <Figure
          large
          name="Today"
          value={stats.today === null ? "–" : format.number(stats.today)}
          note="since midnight UTC"
        />
      </dl>
      <dl class="figures">
        <Figure name="Received" value={format.number(total.received)} />
        <Figure name="Counted" value={format.number(total.written)} />
        <Figure name="Duplicates" value={format.number(total.duplicate)} />
        <Figure name="Dead letters" value={format.number(total.dead_lettered)} />
        {total.deleted > 0 && <Figure name="Deleted" value={format.number(total.deleted)} />}
        {total.skipped > 0 && <Figure name="Skipped" value={format.number(total.skipped)} note="lost by the log" />}
        <Figure name="Waiting" value={isStoreSilent(partitions) ? "–" : format.number(total.lag)} />
      </dl>
    </section>
  );
}

/** The rollup that the address names; or else one whose panes are minutes, with the most events. */
export function chosenRollup(live: Live): string {
  const asked = param("rollup");
  if (live.rollups.has(asked)) return asked;
  const events = ({ panes }: Rollup) => [...panes.values()].reduce((sum, pane) => sum + pane.events, 0);
  const isFine = (rollup: Rollup) => Number(rollup.definition.pane_ms <= 60_000 && events(rollup) > 0);
  const all = [...live.rollups.values()];
  all.sort((left, right) => isFine(right) - isFine(left) || events(right) - events(left));
  return all[0]?.definition.name ?? "";
}

function Recent({ live: now }: { live: Live }) {
  const name = chosenRollup(now);
  const rollup = now.rollups.get(name);
  if (!rollup) return null;
  const shown = slots(rollup, watermarkOf(now, rollup.definition.stream), Date.parse(now.stats.at), SLOTS);
  const pane = format.duration(rollup.definition.pane_ms);
  const named =
    new Map([
      ["1 m", "minute"],
      ["1 h", "hour"],
      ["1 d", "day"],
      ["1 s", "second"],
    ]).get(pane) ?? pane;
  return (
    <Panel
      title={`Events per ${named}`}
      tools={
        <Choice
          label="Rollup"
          value={name}
          options={[...now.rollups.keys()]}
          onChange={(value) => setParams({ rollup: value, measure: null, by: null })}
        />
      }
    >
      <Bars name={`Events of ${name} per ${named}`} slots={shown} />
    </Panel>
  );
}
