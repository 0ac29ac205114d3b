import { expect, it } from "vitest";
import { added, ask, bodyOf, faultOf, meaningOf, meant, NOTHING, type Target, valueOf } from "./replay-wish";

const ALL: Target = { stream: "orders", reason: "bad_number", place: null };
const ONE: Target = { stream: "orders", reason: "bad_number", place: [2, 17] };
const refused = (offset: number) => ({
  stream: "orders",
  partition: 0,
  offset,
  code: "bad_number",
  field: "amount",
  detail: "no number",
});

it.each([
  ["7", "7", "a number"],
  ["99999999999999999999.10", "99999999999999999999.10", "a number"],
  [" 0.50 ", "0.50", "a number"],
  ["-1", "-1", "a number"],
  ["null", "null", "taken out"],
  ["true", "true", "true"],
  ["false", "false", "false"],
  ["much", '"much"', "a text"],
  ['"7"', '"7"', "a text"],
  ["", '""', "a text"],
  ['a "b"', '"a \\"b\\""', "a text"],
  ['{"a":1}', '{"a":1}', "an object"],
  ["[1]", "[1]", "a list"],
  ["{a}", '"{a}"', "a text"],
  ["007", '"007"', "a text"],
])("%s is %s: %s", (typed, json, meaning) => {
  expect(valueOf(typed)).toBe(json);
  expect(meaningOf(typed)).toBe(meaning);
});

it("asks for all of a reason or for one letter", () => {
  expect(bodyOf(ALL, [], true, null)).toBe('{"stream":"orders","reason":"bad_number","dry_run":true}');
  expect(bodyOf(ONE, [], false, null)).toBe('{"stream":"orders","letters":[[2,17]]}');
  const edits = [
    { name: " amount ", value: "0.10" },
    { name: "as_it_is", value: "" },
    { name: 'a"b', value: "x" },
  ];
  const body = bodyOf(ALL, edits, false, "41");
  expect(body).toBe('{"stream":"orders","reason":"bad_number","edit":{"amount":0.10,"a\\"b":"x"},"cursor":"41"}');
  expect(() => JSON.parse(body)).not.toThrow();
});

it("does not ask for what means nothing", () => {
  expect(meant([{ name: "", value: "" }])).toEqual([]);
  expect(faultOf([{ name: "", value: "" }])).toBe("");
  expect(faultOf([{ name: "", value: "7" }])).toBe("A value has no field.");
  expect(
    faultOf([
      { name: "a", value: "1" },
      { name: " a", value: "2" },
    ]),
  ).toBe("The field a stands there twice.");
  expect(meant([{ name: "a", value: '""' }])).toHaveLength(1);
});

it("adds the pages up", async () => {
  const pages = [
    { accepted: 990, still_refused: [refused(1), refused(2)], already_replayed: 8, next_cursor: "10" },
    { accepted: 3, still_refused: [], already_replayed: 0, next_cursor: null },
  ];
  const asked: string[] = [];
  const seen: number[] = [];
  const sum = await ask(
    ALL,
    [],
    false,
    async (body) => pages[asked.push(body) - 1],
    (so) => seen.push(so.accepted),
  );
  expect(sum).toEqual({ accepted: 993, refused: 2, sample: [refused(1), refused(2)], replayed: 8, gone: 0 });
  expect(seen).toEqual([990, 993]);
  expect(asked.map((body) => (JSON.parse(body) as { cursor?: string }).cursor)).toEqual([undefined, "10"]);
});

it("shows the first of many that are refused, and counts all", () => {
  const many = Array.from({ length: 30 }, (_, offset) => refused(offset));
  const sum = added(NOTHING, { would_accept: 0, still_refused: many, already_replayed: 0, next_cursor: null });
  expect(sum.refused).toBe(30);
  expect(sum.sample.map(({ offset }) => offset)).toEqual(Array.from({ length: 20 }, (_, offset) => offset));
  const gone = added(sum, { accepted: 0, still_refused: [], already_replayed: 0, not_found: 1, next_cursor: null });
  expect(gone.gone).toBe(1);
});
