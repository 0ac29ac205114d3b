// Takes dead letters in again: what would happen first, then what did. What is asked for after the dry run is what the
// dry run was about; a change in between asks for another.
import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import { command, why } from "../api";
import * as format from "../format";
import { Fault, ScopedButton } from "../ui/parts";
import { Table } from "../ui/table";
import { nameOf } from "./bad-field";
import { ask, type Edit, faultOf, meaningOf, NOTHING, type Outcome, type Target } from "./replay-wish";

interface Props {
  target: Target;
  /** Letters that wait, and the field that is at fault. */
  waiting: number;
  field: string;
  /** What is told once something was taken in. */
  onReplayed: () => void;
  onClose: (isReplayed: boolean) => void;
}

export function Replay({ target, waiting, field, onReplayed, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const edits = useSignal<Edit[]>([{ name: nameOf(field), value: "" }]);
  const wish = useWish(target, onReplayed);
  const end = useRef<HTMLButtonElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const isDone = wish.done !== null;
  useEffect(() => {
    // The button that was pressed is gone.
    if (isDone) end.current?.focus();
  }, [isDone]);
  const change = (next: Edit[]) => {
    edits.value = next;
    wish.forget();
  };
  const whom = target.place
    ? `the letter ${target.stream} ${target.place.join(":")}`
    : `${format.counted(waiting, "letter")}: ${target.reason} of ${target.stream}`;
  return (
    <dialog ref={dialog} class="replay" aria-labelledby={title} onClose={() => onClose(isDone)}>
      <h2 id={title}>Replay {whom}</h2>
      <p class="quiet">
        Taken in again as a new record, as it was sent or with a field changed. Each is counted once, however often it
        is replayed.
      </p>
      <Edits edits={edits.value} onChange={change} />
      <div role="status">
        {wish.isBusy && <p>{format.number(wish.progress)} so far…</p>}
        {wish.tried && <Told outcome={wish.tried} isDry />}
        {wish.done && <Told outcome={wish.done} isDry={false} />}
      </div>
      {wish.fault && <Fault>{wish.fault}</Fault>}
      <p class="row-of-buttons">
        <ScopedButton
          scope="admin"
          isMain={!wish.tried}
          isBusy={wish.isBusy}
          onClick={() => void wish.ask(edits.value, true)}
        >
          Dry run
        </ScopedButton>
        {wish.tried && wish.tried.accepted > 0 && (
          <ScopedButton scope="admin" isMain isBusy={wish.isBusy} onClick={() => void wish.ask(edits.value, false)}>
            Replay {format.counted(wish.tried.accepted, "letter")}
          </ScopedButton>
        )}
        <button ref={end} type="button" class="button" onClick={() => dialog.current?.close()}>
          {wish.done ? "Close" : "Cancel"}
        </button>
      </p>
    </dialog>
  );
}

/** What was asked and answered so far. */
function useWish(target: Target, onReplayed: () => void) {
  const tried = useSignal<Outcome | null>(null);
  const done = useSignal<Outcome | null>(null);
  const progress = useSignal<number | null>(null);
  const fault = useSignal("");
  const gone = useRef(new AbortController());
  useEffect(() => () => gone.current.abort(), []);
  const forget = () => {
    tried.value = null;
    done.value = null;
    fault.value = "";
  };
  const run = async (edits: Edit[], isDry: boolean) => {
    const wrong = faultOf(edits);
    forget();
    fault.value = wrong;
    if (wrong !== "") return;
    progress.value = 0;
    try {
      const post = (body: string) => command("v1/dead-letters/replay", body, gone.current.signal);
      const outcome = await ask(target, edits, isDry, post, (sum) => (progress.value = sum.accepted + sum.refused));
      if (isDry) tried.value = outcome;
      else done.value = outcome;
    } catch (error) {
      if (gone.current.signal.aborted) return;
      fault.value = `${isDry ? "" : "Not all was asked for; what was taken in is counted once if it is sent again. "}${why(error)}`;
    }
    progress.value = null;
    if (!isDry) onReplayed();
  };
  return {
    tried: tried.value,
    done: done.value,
    progress: progress.value ?? 0,
    isBusy: progress.value !== null,
    fault: fault.value,
    forget,
    ask: run,
  };
}

function Edits({ edits, onChange }: { edits: Edit[]; onChange: (edits: Edit[]) => void }) {
  const set = (index: number, part: Partial<Edit>) =>
    onChange(edits.map((edit, at) => (at === index ? { ...edit, ...part } : edit)));
  return (
    <fieldset class="edits">
      <legend>Change before (optional)</legend>
      {edits.map((edit, index) => (
        <div class="edit" key={index}>
          <label class="field">
            <span>Field</span>
            <input
              type="text"
              value={edit.name}
              spellcheck={false}
              autocomplete="off"
              onInput={(event) => set(index, { name: event.currentTarget.value })}
            />
          </label>
          <label class="field">
            <span>New value{edit.value === "" ? "" : `: ${meaningOf(edit.value)}`}</span>
            <input
              type="text"
              value={edit.value}
              spellcheck={false}
              autocomplete="off"
              placeholder="as it is"
              onInput={(event) => set(index, { value: event.currentTarget.value })}
            />
          </label>
        </div>
      ))}
      <p class="quiet">
        JSON, or else a text; <code>null</code> takes the field out, <code>""</code> is the empty text.{" "}
        <button type="button" class="link" onClick={() => onChange([...edits, { name: "", value: "" }])}>
          Another field
        </button>
      </p>
    </fieldset>
  );
}

function Told({ outcome, isDry }: { outcome: Outcome; isDry: boolean }) {
  const { accepted, refused, sample, replayed, gone } = outcome;
  const isNothing = JSON.stringify(outcome) === JSON.stringify(NOTHING);
  return (
    <div class={accepted > 0 ? "answer good" : "answer bad"}>
      <p>
        <strong>{isDry ? "Dry run, nothing was changed." : "Done."}</strong> {isNothing && "No letter waits any more."}
      </p>
      {!isNothing && (
        <dl class="outcome">
          <Count name={isDry ? "would be accepted" : "accepted"} count={accepted} />
          <Count name={isDry ? "would be refused still" : "still refused"} count={refused} />
          <Count name="already replayed" count={replayed} />
          {gone > 0 && <Count name="no letter any more" count={gone} />}
        </dl>
      )}
      {!isDry && accepted > 0 && <p class="quiet">Durable in the log. They leave the list when they are counted.</p>}
      {sample.length > 0 && (
        <Table
          caption="Still refused"
          items={sample}
          keyOf={(letter) => `${letter.partition}:${letter.offset}`}
          columns={[
            { name: "Letter", show: (letter) => `${letter.partition}:${letter.offset}` },
            { name: "Reason", show: (letter) => <code>{letter.code}</code> },
            { name: "Why", show: (letter) => letter.detail },
          ]}
        />
      )}
      {refused > sample.length && (
        <p class="quiet">
          The first {sample.length} of {format.number(refused)}.
        </p>
      )}
    </div>
  );
}

function Count({ name, count }: { name: string; count: number }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <span class="value">{format.number(count)}</span>
      </dd>
    </div>
  );
}
