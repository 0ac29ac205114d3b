// Sending by hand, with bodies to begin with, and the demo that sends by itself.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { absolute, command, get, post, why } from "../api";
import { live } from "../live/feed";
import { href, param, setParams } from "../route";
import { Copy, Fault, Panel, ScopedButton, Toggle, usePolling } from "../ui/parts";
import { canLook, session } from "../session";
import { examples, type Known } from "./bodies";

export function Send() {
  const roles = live.value?.server.roles;
  if (roles && !roles.includes("ingest"))
    return (
      <p class="empty">
        This process takes no events: it has the roles {roles.join(", ")}. Open a process with the role ingest.
      </p>
    );
  return (
    <>
      <Form />
      {canLook(session.value) && <Demo />}
    </>
  );
}

function Form() {
  const streams = useSignal<Known[] | null>(null);
  const mayLook = canLook(session.value);
  useEffect(() => {
    // Who may not look has the built-in examples.
    if (mayLook)
      get<{ streams: Known[] }>("v1/status").then(
        (status) => (streams.value = status.streams),
        () => {},
      );
  }, [mayLook]);
  const all = examples(new Date(), streams.value);
  const chosen = all.find(({ name }) => name === param("as")) ?? all[0]!;
  const body = useSignal(chosen.body);
  const path = useSignal(chosen.path);
  const known = useSignal(chosen.name);
  if (known.value !== chosen.name) {
    known.value = chosen.name;
    body.value = chosen.body;
    path.value = chosen.path;
  }
  const answer = useSignal<{ status: number; text: string } | null>(null);
  const fault = useSignal("");
  const isSending = useSignal(false);
  const send = async (event: Event) => {
    event.preventDefault();
    isSending.value = true;
    try {
      const wait = path.value.includes("?") ? "&wait=true" : "?wait=true";
      answer.value = await post(path.value.replace(/^\//, "") + wait, body.value);
      fault.value = "";
    } catch (error) {
      fault.value = why(error);
    }
    isSending.value = false;
  };
  const shell = `curl -X POST '${absolute(path.value.replace(/^\//, ""))}' -H 'content-type: application/json' -d '${body.value.replaceAll("'", "'\\''")}'`;
  return (
    <Panel title="Send an event" tools={<Copy text={shell} label="Copy as curl" />}>
      <Toggle
        label="As"
        value={chosen.name}
        options={all.map(({ name }) => [name, name])}
        onChange={(value) => setParams({ as: value })}
      />
      <form class="send" onSubmit={send}>
        <label class="field wide">
          <span>Path</span>
          <input
            type="text"
            value={path.value}
            spellcheck={false}
            onInput={(event) => (path.value = event.currentTarget.value)}
          />
        </label>
        <label class="field wide">
          <span>Body: one object, an array, or one object a line</span>
          <textarea
            rows={9}
            spellcheck={false}
            value={body.value}
            onInput={(event) => (body.value = event.currentTarget.value)}
          />
        </label>
        <p class="row-of-buttons">
          <ScopedButton scope="ingest" isMain isSubmit isBusy={isSending.value}>
            {isSending.value ? "Sending…" : "Send"}
          </ScopedButton>
        </p>
      </form>
      {fault.value && <Fault>{fault.value}</Fault>}
      <div role="status">{answer.value && <Answer {...answer.value} />}</div>
    </Panel>
  );
}

function pretty(text: string): string {
  // A text of digits stays as it is: only line breaks are put in.
  return text
    .replace(/("(?:[^"\\]|\\.)*")|([{,])/g, (whole, quoted: string | undefined, sign: string | undefined) =>
      quoted ? whole : `${sign}\n  `,
    )
    .replace(/\}$/, "\n}");
}

function Answer({ status, text }: { status: number; text: string }) {
  const isGood = status < 300;
  const id = /"event_id":"([^"]+)"/.exec(text)?.[1];
  return (
    <div class={isGood ? "answer good" : "answer bad"}>
      <p>
        <strong>{status}</strong> {isGood ? "Durable, and counted." : "Nothing was taken."}{" "}
        {isGood && id && <a href={href("tail", { event: id })}>What became of it</a>}
      </p>
      {text && (
        <pre class="raw-block">
          <code>{pretty(text)}</code>
        </pre>
      )}
    </div>
  );
}

function Demo() {
  const state = useSignal<{ available: boolean; running: boolean } | null>(null);
  const fault = useSignal("");
  usePolling(5_000, [], async (signal) => {
    try {
      state.value = await get("v1/demo", signal);
      fault.value = "";
    } catch (error) {
      if (!signal.aborted) fault.value = why(error);
    }
  });
  const turn = async (to: string) => {
    try {
      state.value = await command(`v1/demo/${to}`);
      fault.value = "";
    } catch (error) {
      fault.value = why(error);
    }
  };
  const { available, running } = state.value ?? { available: false, running: false };
  return (
    <Panel title="Demo">
      {fault.value && <Fault>{fault.value}</Fault>}
      {state.value && !available && (
        <p class="quiet">
          There is none here: it runs on a server that was started with <code>--demo</code>, or that only this machine
          can reach, so that nobody’s numbers are disturbed.
        </p>
      )}
      {available && (
        <>
          <p>
            Visitors and live streams, made up and dated now, with a few late and a few repeated events. They are
            counted like any other.
          </p>
          <p class="row-of-buttons">
            <ScopedButton scope="admin" isMain={!running} onClick={() => turn(running ? "stop" : "start")}>
              {running ? "Stop the demo" : "Start the demo"}
            </ScopedButton>
            <span role="status" class="quiet">
              {running ? "It is sending." : "It is not sending."}
            </span>
          </p>
        </>
      )}
    </Panel>
  );
}
