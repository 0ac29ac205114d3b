// What stands in the place of every page while the server does not know who asks.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, why } from "../api";
import { signIn } from "../session";
import { Panel } from "../ui/parts";

export function SignIn() {
  const field = useRef<HTMLInputElement>(null);
  const fault = useSignal("");
  const isAsking = useSignal(false);
  useEffect(() => field.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    // Read where it was typed, so that it is in no state of the page.
    const key = field.current?.value.trim() ?? "";
    isAsking.value = true;
    try {
      if (key === "") throw new Error("Type or paste a key.");
      await signIn(key);
      fault.value = "";
    } catch (error) {
      const isUnknown = error instanceof ApiError && error.status === 401;
      fault.value = isUnknown ? "The server does not know this key." : why(error);
      field.current?.select();
    }
    isAsking.value = false;
  };
  return (
    <div class="sign-in">
      <Panel title="Sign in">
        <p class="quiet">
          This server answers to those who have a key. It is sent once; the browser then keeps a cookie until you sign
          out.
        </p>
        <form onSubmit={submit}>
          <label class="field wide">
            <span>Key</span>
            <input
              ref={field}
              type="password"
              name="key"
              autocomplete="current-password"
              spellcheck={false}
              aria-invalid={fault.value !== ""}
              aria-describedby="sign-in-fault"
            />
          </label>
          <p id="sign-in-fault" class={fault.value ? "fault" : ""} role="alert">
            {fault.value}
          </p>
          <p class="row-of-buttons">
            <button class="button main" disabled={isAsking.value}>
              {isAsking.value ? "Asking…" : "Sign in"}
            </button>
          </p>
        </form>
      </Panel>
    </div>
  );
}
