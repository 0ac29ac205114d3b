import { expect, it } from "vitest";
import { placeOf } from "../charts/histogram";
import { findField } from "./bad-field";

it.each([
  ['{"a":1,"amount":"x"}', "amount", '"amount":"x"'],
  ['{"amount" : {"b":[1,2]} ,"c":1}', "amount", '"amount" : {"b":[1,2]}'],
  ['{"s":"amount","amount":12}', "amount", '"amount":12'],
  ['{"p":{"amount":[1,{"x":"]"}]}}', "properties.amount", '"amount":[1,{"x":"]"}]'],
  ['{"a\\"b":true}', 'a"b', '"a\\"b":true'],
])("in %s %s is %s", (raw, field, expected) => {
  const place = findField(raw, field);
  expect(place && raw.slice(...place)).toBe(expected);
});

it.each([
  ['{"a":1}', "b"],
  ['{"a":"b"}', "b"],
  ["not json", "a"],
  ['{"a":1}', ""],
])("in %s there is no %j", (raw, field) => {
  expect(findField(raw, field)).toBeNull();
});

it("the grace stands where it divides the buckets", () => {
  const buckets = [
    { from_ms: 0, to_ms: 1_000, events: 0 },
    { from_ms: 1_000, to_ms: 3_000, events: 0 },
    { from_ms: 3_000, to_ms: null, events: 0 },
  ];
  expect([0, 500, 1_000, 2_000, 3_000, 9_000].map((grace) => placeOf(grace, buckets))).toEqual([0, 0.5, 1, 1.5, 2, 2]);
});
