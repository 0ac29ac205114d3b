// Requests to the server. A refusal is an error with the server's own words.
import { signal } from "@preact/signals";
import { parseExact } from "./exact";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** Whether the server answers only those who sign in, and this browser has not. */
export const isLocked = signal(false);
const LOCKED = ["key_missing", "key_unknown"];

interface Problem {
  code?: string;
  detail?: string;
  title?: string;
}

function refusal({ status, text }: Answered): ApiError {
  let problem: Problem = {};
  try {
    problem = JSON.parse(text) as Problem;
  } catch {
    // Whatever stands between may answer in its own way.
  }
  return new ApiError(status, problem.code ?? "", problem.detail ?? problem.title ?? `the server answered ${status}`);
}

export interface Answered {
  status: number;
  text: string;
}

async function ask(path: string, request: RequestInit): Promise<Answered> {
  const answer = await fetch(path, { cache: "no-store", ...request }).catch((error: unknown) => {
    // Browsers say in their own ways that nobody answered.
    throw error instanceof TypeError ? new Error("the server does not answer") : error;
  });
  const answered = { status: answer.status, text: await answer.text() };
  if (answered.status === 401 && LOCKED.includes(refusal(answered).code)) isLocked.value = true;
  return answered;
}

function good(answered: Answered): string {
  if (answered.status >= 400) throw refusal(answered);
  return answered.text;
}

export async function get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  return parseExact(good(await ask(path, signal ? { signal } : {}))) as Answer;
}

/** Posts, whatever the answer is. */
export async function post(path: string, body = "", signal?: AbortSignal): Promise<Answered> {
  const headers: Record<string, string> = body === "" ? {} : { "content-type": "application/json" };
  return ask(path, { method: "POST", body, headers, ...(signal ? { signal } : {}) });
}

export async function command<Answer>(path: string, body = "", signal?: AbortSignal): Promise<Answer> {
  return parseExact(good(await post(path, body, signal))) as Answer;
}

/** For what is answered without a word. */
export async function silently(method: "POST" | "DELETE", path: string, body = ""): Promise<void> {
  const headers: Record<string, string> = body === "" ? {} : { "content-type": "application/json" };
  good(await ask(path, { method, headers, ...(body === "" ? {} : { body }) }));
}

/** A path with the parameters that are not empty; null leaves one out, and an empty text stays where it is meant. */
export function withQuery(path: string, params: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The path of the server as others reach it. */
export function absolute(path: string): string {
  return new URL(path, document.baseURI).href;
}

/** A shell command that asks the same. */
export function curl(path: string): string {
  return `curl '${absolute(path).replaceAll("'", "%27")}'`;
}

export function why(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
