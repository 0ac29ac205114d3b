// Small parts that several pages use.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { lacking, type Scope, session } from "../session";

/** A titled box of the page. */
export function Panel({
  title,
  tools,
  children,
  note,
  place,
}: {
  title: string;
  /** For what takes the focus when it opens. */
  place?: { current: HTMLElement | null };
  tools?: ComponentChildren;
  note?: ComponentChildren;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class="panel" aria-labelledby={id} {...(place ? { ref: place, tabIndex: -1 } : {})}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {tools && <div class="tools">{tools}</div>}
      </header>
      {note && <p class="quiet note">{note}</p>}
      {children}
    </section>
  );
}

/** A number with its name. */
export function Figure({
  name,
  value,
  unit,
  note,
  large,
}: {
  name: string;
  value: string;
  unit?: string;
  note?: ComponentChildren;
  large?: boolean;
}) {
  return (
    <div class={large ? "figure large" : "figure"}>
      <dt>{name}</dt>
      <dd>
        <span class="value">{value}</span>
        {unit && <span class="unit">{unit}</span>}
        {note && <span class="quiet under">{note}</span>}
      </dd>
    </div>
  );
}

export function Choice({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: (string | [string, string])[];
  onChange: (value: string) => void;
}) {
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map((option) => {
          const [name, text] = typeof option === "string" ? [option, option] : option;
          return (
            <option key={name} value={name} selected={name === value}>
              {text}
            </option>
          );
        })}
      </select>
    </label>
  );
}

export function Input({
  label,
  value,
  onChange,
  list,
  placeholder,
  wide,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  list?: string;
  placeholder?: string;
  wide?: boolean;
}) {
  // What is being typed stays while the page around it is drawn anew, every second or so.
  const draft = useSignal<string | null>(null);
  return (
    <label class={wide ? "field wide" : "field"}>
      <span>{label}</span>
      <input
        type="text"
        value={draft.value ?? value}
        list={list}
        placeholder={placeholder}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => (draft.value = event.currentTarget.value)}
        onChange={(event) => {
          draft.value = null;
          onChange(event.currentTarget.value);
        }}
        onBlur={() => (draft.value = null)}
      />
    </label>
  );
}

/** A text of an event: a long one is cut after some lines, and is whole where one points at it. */
export function Brief({ text }: { text: string }) {
  const isLong = text.length > BRIEF_CHARS;
  // Several beside each other are in the page's order, whichever way each of them runs.
  const dir = text.includes("\u2068") ? "ltr" : "auto";
  return (
    <bdi class={isLong ? "brief long" : "brief"} dir={dir} title={isLong ? text : undefined}>
      {text}
    </bdi>
  );
}

/** Longer ones may be cut. */
const BRIEF_CHARS = 40;

/** A button that copies a text and says so. */
export function Copy({ text, label }: { text: string; label: string }) {
  const said = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.value = "Copied";
    } catch {
      said.value = "Select and copy it by hand";
    }
    setTimeout(() => (said.value = ""), 2_000);
  };
  return (
    <button type="button" class="button" onClick={copy}>
      <span aria-live="polite">{said.value || label}</span>
    </button>
  );
}

/** One of two or more ways to look. */
export function Toggle({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: [string, string][];
  onChange: (value: string) => void;
}) {
  return (
    <div class="toggle" role="group" aria-label={label}>
      {options.map(([name, text]) => (
        <button key={name} type="button" aria-pressed={name === value} onClick={() => onChange(name)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A button for what not every key may do: without its scope it cannot be pressed and says why. While it is busy it keeps
 * the focus, and pressing it does nothing. */
export function ScopedButton({
  scope,
  isMain,
  isBusy,
  isSubmit,
  onClick,
  children,
}: {
  scope: Scope;
  isMain?: boolean;
  isBusy?: boolean;
  isSubmit?: boolean;
  onClick?: () => void;
  children: ComponentChildren;
}) {
  const reason = lacking(session.value, scope);
  const id = useId();
  return (
    <>
      <button
        type={isSubmit ? "submit" : "button"}
        class={isMain ? "button main" : "button"}
        disabled={reason !== ""}
        aria-disabled={isBusy}
        aria-describedby={reason ? id : undefined}
        onClick={(event) => {
          if (isBusy) event.preventDefault();
          else onClick?.();
        }}
      >
        {children}
      </button>
      {reason && (
        <span id={id} class="quiet">
          {reason}
        </span>
      )}
    </>
  );
}

export function Fault({ children }: { children: ComponentChildren }) {
  return (
    <p class="fault" role="alert">
      {children}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Calls again and again while the page is looked at, beginning now; anew when what it depends on changes. */
export function usePolling(every: number, on: readonly unknown[], ask: (signal: AbortSignal) => Promise<void>): void {
  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const round = async () => {
      if (!document.hidden) await ask(gone.signal);
      if (!gone.signal.aborted) timer = setTimeout(round, every);
    };
    void round();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [...on]);
}

/** A value that changes all the time, taken over once in so long, and the last one always. */
export function useSeldom<Value>(value: Value, every: number): Value {
  const taken = useSignal(value);
  const at = useRef(Date.now());
  useEffect(() => {
    if (taken.peek() === value) return;
    const timer = setTimeout(
      () => {
        at.current = Date.now();
        taken.value = value;
      },
      at.current + every - Date.now(),
    );
    return () => clearTimeout(timer);
  }, [value]);
  return taken.value;
}

/** The width that an element has, in pixels. */
export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const width = useSignal(0);
  const place = useSignal<{ current: HTMLDivElement | null }>({ current: null }).peek();
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) width.value = Math.floor(entry.contentRect.width);
    });
    observer.observe(element);
    width.value = Math.floor(element.getBoundingClientRect().width);
    return () => observer.disconnect();
  }, []);
  return [place, width.value];
}
