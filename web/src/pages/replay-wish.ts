// What a replay asks for, and what is made of its answers. A value that is typed is JSON, or else a text, as on the
// command line; numbers keep their digits, since nothing here reads them.

/** All letters of a stream and reason, or a single one. */
export interface Target {
  stream: string;
  reason: string;
  place: [number, number] | null;
}

export interface Edit {
  name: string;
  value: string;
}

export interface Refused {
  stream: string;
  partition: number;
  offset: number;
  code: string;
  field: string;
  detail: string;
}

interface Answer {
  would_accept?: number;
  accepted?: number;
  still_refused: Refused[];
  already_replayed: number;
  not_found?: number;
  next_cursor: string | null;
}

export interface Outcome {
  accepted: number;
  refused: number;
  /** The first of those that are refused still. */
  sample: Refused[];
  replayed: number;
  gone: number;
}

export const NOTHING: Outcome = { accepted: 0, refused: 0, sample: [], replayed: 0, gone: 0 };
const SAMPLE = 20;

/** The JSON of a value as it was typed. */
export function valueOf(typed: string): string {
  const text = typed.trim();
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(typed);
  }
}

/** What is made of a value, in words. */
export function meaningOf(typed: string): string {
  const json = valueOf(typed);
  if (json === "null") return "taken out";
  const kinds: Record<string, string> = { '"': "a text", "{": "an object", "[": "a list", t: "true", f: "false" };
  return kinds[json[0]!] ?? "a number";
}

/** Edits that say something: a field without a value stays as it is. */
export function meant(edits: Edit[]): Edit[] {
  return edits.filter(({ value }) => value !== "");
}

/** Why these edits cannot be asked for; empty where they can. */
export function faultOf(edits: Edit[]): string {
  const names = meant(edits).map(({ name }) => name.trim());
  if (names.includes("")) return "A value has no field.";
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  return twice === undefined ? "" : `The field ${twice} stands there twice.`;
}

/** The body of the request. */
export function bodyOf(target: Target, edits: Edit[], isDry: boolean, cursor: string | null): string {
  const members: [string, string][] = [["stream", JSON.stringify(target.stream)]];
  if (target.place) members.push(["letters", JSON.stringify([target.place])]);
  else members.push(["reason", JSON.stringify(target.reason)]);
  const set = meant(edits).map(({ name, value }) => `${JSON.stringify(name.trim())}:${valueOf(value)}`);
  if (set.length > 0) members.push(["edit", `{${set.join(",")}}`]);
  if (isDry) members.push(["dry_run", "true"]);
  if (cursor !== null) members.push(["cursor", JSON.stringify(cursor)]);
  return `{${members.map(([name, json]) => `"${name}":${json}`).join(",")}}`;
}

/** What all answers so far say together. */
export function added(sum: Outcome, answer: Answer): Outcome {
  return {
    accepted: sum.accepted + (answer.would_accept ?? answer.accepted ?? 0),
    refused: sum.refused + answer.still_refused.length,
    sample: [...sum.sample, ...answer.still_refused].slice(0, SAMPLE),
    replayed: sum.replayed + answer.already_replayed,
    gone: sum.gone + (answer.not_found ?? 0),
  };
}

/** Asks page by page until there are no more letters. */
export async function ask(
  target: Target,
  edits: Edit[],
  isDry: boolean,
  post: (body: string) => Promise<unknown>,
  onAnswer: (sum: Outcome) => void,
): Promise<Outcome> {
  let sum = NOTHING;
  let cursor: string | null = null;
  do {
    const answer = (await post(bodyOf(target, edits, isDry, cursor))) as Answer;
    sum = added(sum, answer);
    onAnswer(sum);
    cursor = answer.next_cursor;
  } while (cursor !== null);
  return sum;
}
