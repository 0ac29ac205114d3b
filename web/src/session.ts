// Who asks: on a server with keys one signs in, and the browser keeps a cookie that no script can read. The key itself is
// sent once and kept nowhere.
import { signal } from "@preact/signals";
import { ApiError, get, isLocked, silently } from "./api";

export type Scope = "ingest" | "query" | "admin";

export interface Session {
  auth: "off" | "keys";
  scopes: string[];
  /** Whether the browser sends the cookie of a session. */
  session: boolean;
}

const OPEN: Session = { auth: "off", scopes: ["ingest", "query", "admin"], session: false };

/** Null while it is not known. */
export const session = signal<Session | null>(null);

/** Why something that needs a scope cannot be done; empty where it can, or where only the server knows. */
export function lacking(known: Session | null, scope: Scope): string {
  if (!known || known.auth === "off" || known.scopes.includes(scope)) return "";
  return `Needs a key with the scope ${scope}.`;
}

/** Whether this browser may look at anything; a key that only sends may not. */
export function canLook(known: Session | null): boolean {
  return lacking(known, "query") === "";
}

/** Asks who the server takes this browser for; one that does not know the question is open. */
export async function look(): Promise<void> {
  try {
    session.value = await get<Session>("v1/session");
    isLocked.value = session.value.auth === "keys" && session.value.scopes.length === 0;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) return;
    session.value = OPEN;
    isLocked.value = false;
  }
}

export async function signIn(key: string): Promise<void> {
  await silently("POST", "v1/session", JSON.stringify({ key }));
  await look();
}

export async function signOut(): Promise<void> {
  await silently("DELETE", "v1/session");
  // Where this machine needs no key it goes on without one.
  await look();
}
