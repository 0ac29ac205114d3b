// Events that could not be folded: by reason, and single ones with what is wrong in them shown.
import { useSignal } from "@preact/signals";
import { get, why, withQuery } from "../api";
import * as format from "../format";
import { live } from "../live/feed";
import { param, setParams } from "../route";
import { Copy, Empty, Fault, Panel, usePolling } from "../ui/parts";
import { findField } from "./bad-field";

const EVERY_MS = 5_000;
const SAMPLE = 500;

export interface DeadLetter {
  stream: string;
  partition: number;
  offset: number;
  reason: string;
  field: string;
  detail: string;
  event_id: string;
  event_type: string;
  received_at: string;
  raw: string;
}

export function DeadLetters() {
  const letters = useSignal<DeadLetter[] | null>(null);
  const fault = useSignal("");
  usePolling(EVERY_MS, [], async (signal) => {
    try {
      letters.value = (await get<{ data: DeadLetter[] }>(withQuery("v1/dead-letters", { limit: SAMPLE }), signal)).data;
      fault.value = "";
    } catch (error) {
      if (!signal.aborted) fault.value = why(error);
    }
  });
  const all = letters.value ?? [];
  const total = live.value?.stats.total.dead_lettered ?? 0;
  const reasons = new Map<string, number>();
  for (const letter of all) reasons.set(letter.reason, (reasons.get(letter.reason) ?? 0) + 1);
  const chosen = reasons.has(param("reason")) ? param("reason") : "";
  const shown = all.filter((letter) => chosen === "" || letter.reason === chosen).slice(0, 20);
  return (
    <Panel
      title="Dead letters"
      note={
        total > all.length && letters.value
          ? `The newest ${format.number(all.length)} of ${format.number(total)}`
          : undefined
      }
    >
      {fault.value && <Fault>{fault.value}</Fault>}
      {letters.value && all.length === 0 && (
        <Empty>None. What cannot be counted is refused at the door, with its reason, to its sender.</Empty>
      )}
      {all.length > 0 && (
        <ul class="reasons">
          {[...reasons]
            .sort((left, right) => right[1] - left[1])
            .map(([reason, count]) => (
              <li key={reason}>
                <button
                  type="button"
                  class="chip"
                  aria-pressed={reason === chosen}
                  onClick={() => setParams({ reason: reason === chosen ? null : reason })}
                >
                  <code>{reason}</code> {format.number(count)}
                </button>
              </li>
            ))}
        </ul>
      )}
      <ul class="letters">
        {shown.map((letter) => (
          <li key={`${letter.stream}/${letter.partition}/${letter.offset}`}>
            <Letter letter={letter} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Letter({ letter }: { letter: DeadLetter }) {
  return (
    <details class="letter">
      <summary>
        <code>{letter.reason}</code> <span>{letter.detail}</span>{" "}
        <span class="quiet">
          {letter.event_type} · {letter.stream} {letter.partition}:{letter.offset} ·{" "}
          {format.moment(Date.parse(letter.received_at))} UTC
        </span>
      </summary>
      <pre class="raw-block">
        <code>
          <Raw raw={letter.raw} field={letter.field} />
        </code>
      </pre>
      <p class="row-of-buttons">
        <Copy text={letter.raw} label="Copy the event" />
        <a class="button quiet-button" href={`docs/errors/${encodeURIComponent(letter.reason)}`}>
          What {letter.reason} means
        </a>
      </p>
    </details>
  );
}

/** The event as it was sent, with the member at fault marked. */
function Raw({ raw, field }: { raw: string; field: string }) {
  const place = findField(raw, field);
  if (!place) return <>{raw}</>;
  const [start, end] = place;
  return (
    <>
      {raw.slice(0, start)}
      <mark>{raw.slice(start, end)}</mark>
      {raw.slice(end)}
    </>
  );
}
