// Requests to the server. A refusal is an error with the server's own words.
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

interface Problem {
  code?: string;
  detail?: string;
  title?: string;
}

function refusal(status: number, text: string): ApiError {
  let problem: Problem = {};
  try {
    problem = JSON.parse(text) as Problem;
  } catch {
    // Whatever stands between may answer in its own way.
  }
  return new ApiError(status, problem.code ?? "", problem.detail ?? problem.title ?? `the server answered ${status}`);
}

export async function get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  const answer = await fetch(path, { cache: "no-store", ...(signal ? { signal } : {}) });
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text);
  return parseExact(text) as Answer;
}

export async function post(
  path: string,
  body = "",
  type = "application/json",
): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = body === "" ? {} : { "content-type": type };
  const answer = await fetch(path, { method: "POST", body, headers });
  return { status: answer.status, text: await answer.text() };
}

export async function command<Answer>(path: string): Promise<Answer> {
  const { status, text } = await post(path);
  if (status >= 400) throw refusal(status, text);
  return parseExact(text) as Answer;
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
