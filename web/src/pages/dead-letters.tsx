// Events that could not be folded: by reason, and single ones with what is wrong in them shown; and the way back in.
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { absolute, get, why, withQuery } from "../api";
import * as format from "../format";
import { param, setParams } from "../route";
import { Copy, Empty, Fault, Panel, ScopedButton, Toggle, usePolling } from "../ui/parts";
import { findField } from "./bad-field";
import { Replay } from "./replay";
import type { Target } from "./replay-wish";

const EVERY_MS = 5_000;
/** After a replay the list is about to change. */
const SOON_MS = 1_000;
const SHOWN = 20;
const SHOWN_MAX = 1_000;
const EXPORTED = 1_000;

interface DeadLetter {
  stream: string;
  partition: number;
  offset: number;
  reason: string;
  field: string;
  detail: string;
  event_type: string;
  received_at: string;
  replayed_at: string | null;
  replay_of: [number, number] | null;
  raw: string;
}

interface Reason {
  stream: string;
  reason: string;
  waiting: number;
  replayed: number;
  failed_replays: number;
}

interface Answer {
  data: DeadLetter[];
  next_cursor: string | null;
  reasons: Reason[];
}

interface Wish {
  target: Target;
  waiting: number;
  field: string;
}

export function DeadLetters() {
  const answer = useSignal<Answer | null>(null);
  const fault = useSignal("");
  const shown = useSignal(SHOWN);
  const replays = useSignal(0);
  const wish = useSignal<Wish | null>(null);
  const place = useRef<HTMLUListElement>(null);
  const [stream, reason] = [param("letters_of") || null, param("reason") || null];
  const isReplayed = param("letters") === "replayed";
  const filters = { stream, reason, replayed: String(isReplayed) };
  usePolling(
    replays.value > 0 ? SOON_MS : EVERY_MS,
    [stream, reason, isReplayed, shown.value, replays.value],
    async (signal) => {
      try {
        answer.value = await get<Answer>(withQuery("v1/dead-letters", { ...filters, limit: shown.value }), signal);
        fault.value = "";
      } catch (error) {
        if (!signal.aborted) fault.value = why(error);
      }
    },
  );
  const { data, reasons, next_cursor: next } = answer.value ?? { data: [], reasons: [], next_cursor: null };
  const close = (isReplayed: boolean) => {
    wish.value = null;
    // The button that opened it goes with its letter.
    if (isReplayed || !document.activeElement || document.activeElement === document.body) place.current?.focus();
  };
  const chosen = reasons.find((known) => known.stream === stream && known.reason === reason);
  return (
    <Panel title="Dead letters" tools={reasons.length > 0 && <Tools isReplayed={isReplayed} filters={filters} />}>
      {fault.value && <Fault>{fault.value}</Fault>}
      {answer.value && reasons.length === 0 && (
        <Empty>None. What cannot be counted is refused at the door, with its reason, to its sender.</Empty>
      )}
      <ul ref={place} tabIndex={-1} class="reasons" aria-label="Reasons">
        {reasons.map((known) => (
          <ReasonLine
            key={`${known.stream}/${known.reason}`}
            reason={known}
            isChosen={known === chosen}
            onReplay={() => {
              const target = { stream: known.stream, reason: known.reason, place: null };
              const sample = data.find((letter) => letter.reason === known.reason && letter.stream === known.stream);
              wish.value = { target, waiting: known.waiting, field: sample?.field ?? "" };
            }}
          />
        ))}
      </ul>
      {answer.value && reasons.length > 0 && data.length === 0 && (
        <Empty>{isReplayed ? "None of these was replayed." : "None of these waits any more."}</Empty>
      )}
      <ul class="letters">
        {data.map((letter) => (
          <li key={`${letter.stream}/${letter.partition}/${letter.offset}`}>
            <Letter
              letter={letter}
              onReplay={() => {
                const at: [number, number] = [letter.partition, letter.offset];
                const target = { stream: letter.stream, reason: letter.reason, place: at };
                wish.value = { target, waiting: 1, field: letter.field };
              }}
            />
          </li>
        ))}
      </ul>
      {next !== null && shown.value < SHOWN_MAX && (
        <p class="row-of-buttons">
          <button type="button" class="button" onClick={() => (shown.value = Math.min(SHOWN_MAX, shown.value * 5))}>
            More letters
          </button>
        </p>
      )}
      {wish.value && <Replay {...wish.value} onReplayed={() => (replays.value += 1)} onClose={close} />}
    </Panel>
  );
}

function Tools({ isReplayed, filters }: { isReplayed: boolean; filters: Record<string, string | null> }) {
  const file = withQuery("v1/dead-letters", { ...filters, format: "ndjson", limit: EXPORTED });
  return (
    <>
      <Toggle
        label="Letters that"
        value={isReplayed ? "replayed" : "wait"}
        options={[
          ["wait", "Waiting"],
          ["replayed", "Replayed"],
        ]}
        onChange={(value) => setParams({ letters: value === "replayed" ? value : null })}
      />
      <a class="button" href={absolute(file)} download="dead-letters.ndjson">
        Export
      </a>
    </>
  );
}

function ReasonLine({
  reason: known,
  isChosen,
  onReplay,
}: {
  reason: Reason;
  isChosen: boolean;
  onReplay: () => void;
}) {
  const { stream, reason, waiting, replayed, failed_replays: failed } = known;
  const choose = () => setParams({ reason: isChosen ? null : reason, letters_of: isChosen ? null : stream });
  const told = [
    `${format.number(waiting)} waiting`,
    ...(replayed > 0 ? [`${format.number(replayed)} replayed`] : []),
    ...(failed > 0 ? [`${format.number(failed)} failed again`] : []),
  ];
  return (
    <li>
      <button type="button" class="chip" aria-pressed={isChosen} onClick={choose}>
        <code>{reason}</code> {stream}
      </button>
      <span class="quiet">{told.join(", ")}</span>
      {waiting > 0 && (
        <ScopedButton scope="admin" onClick={onReplay}>
          Replay {waiting === 1 ? "it" : `all ${format.number(waiting)}`}…
          <span class="unseen">
            {" "}
            {reason} of {stream}
          </span>
        </ScopedButton>
      )}
    </li>
  );
}

function Letter({ letter, onReplay }: { letter: DeadLetter; onReplay: () => void }) {
  const { reason, replayed_at: replayed, replay_of: original } = letter;
  return (
    <details class="letter">
      <summary>
        <code>{reason}</code> <Member raw={letter.raw} field={letter.field} /> <span>{letter.detail}</span>{" "}
        <span class="quiet">
          {letter.event_type && `${letter.event_type} · `}
          {letter.stream} {letter.partition}:{letter.offset} · {format.moment(Date.parse(letter.received_at))} UTC
        </span>
      </summary>
      <pre class="raw-block">
        <code>
          <Raw raw={letter.raw} field={letter.field} />
        </code>
      </pre>
      <div class="row-of-buttons">
        {replayed && <span class="quiet">Replayed {format.moment(Date.parse(replayed))} UTC, and counted.</span>}
        {original && (
          <span class="quiet">
            A replay of {original.join(":")} that failed again. Replay that one: this is the record of the attempt.
          </span>
        )}
        {!replayed && !original && (
          <ScopedButton scope="admin" onClick={onReplay}>
            Replay…
            <span class="unseen">
              {" "}
              the letter {letter.partition}:{letter.offset} of {letter.stream}
            </span>
          </ScopedButton>
        )}
        <Copy text={letter.raw} label="Copy the event" />
        <a class="button quiet-button" href={`docs/errors/${encodeURIComponent(reason)}`}>
          What {reason} means
        </a>
      </div>
    </details>
  );
}

/** Longer ones are only told in full below. */
const MEMBER_CHARS = 60;

/** The member at fault by itself, where it is short. */
function Member({ raw, field }: { raw: string; field: string }) {
  const place = findField(raw, field);
  if (!place || place[1] - place[0] > MEMBER_CHARS) return null;
  return <code class="member">{raw.slice(...place)}</code>;
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
