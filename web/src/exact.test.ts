import { describe, expect, it } from "vitest";
import { addExact, Exact, parseExact, plain, toDraw } from "./exact";

describe("parseExact", () => {
  it.each([
    ['{"a":12.50}', "12.50"],
    ['{"a":99999999999999999999.99}', "99999999999999999999.99"],
    ['{"a":-0.000000000001}', "-0.000000000001"],
    ['{"a":9007199254740993}', "9007199254740993"],
    ['{"a":1e400}', "1e400"],
  ])("keeps the digits of %s", (text, digits) => {
    const { a } = parseExact(text) as { a: Exact };
    expect(a).toBeInstanceOf(Exact);
    expect(String(a)).toBe(digits);
  });

  it("leaves everything else as JSON.parse has it", () => {
    const text = '{"s":"12.50 \\" 1e9 \\\\","n":[1,-2,0.5,null,true],"o":{"12.50":"x"},"u":"\\u00e9"}';
    expect(parseExact(text)).toEqual(JSON.parse(text));
  });

  it("does not take text for numbers", () => {
    for (const text of [
      '{"a":"\ue000<img>"}',
      '{"a":["\ue00012.50","\\uE00012.50","\ue000\ue0001",""]}',
      '{"\ue0001.0":"x"}',
    ]) {
      expect(parseExact(text)).toEqual(JSON.parse(text));
    }
  });

  it("refuses what is not JSON", () => {
    expect(() => parseExact('{"a":12.50')).toThrow();
  });
});

describe("addExact", () => {
  it.each([
    ["0.10", "0.20", "0.30"],
    ["99999999999999999999.99", "0.01", "100000000000000000000.00"],
    ["-1.5", "0.25", "-1.25"],
    ["-0.30", "0.10", "-0.20"],
    ["3", "4", "7"],
  ])("%s + %s = %s", (left, right, sum) => {
    expect(String(addExact(new Exact(left), new Exact(right)))).toBe(sum);
  });
});

it("draws numbers and nothing else", () => {
  expect([1, new Exact("2.50"), null, "3", new Exact("1e400"), []].map(toDraw)).toEqual([
    1,
    2.5,
    null,
    null,
    null,
    null,
  ]);
});

it("makes doubles of figures that are computed with", () => {
  expect(plain(parseExact('{"rate":38.0,"all":[1.50,null,"2.0"]}'))).toEqual({ rate: 38, all: [1.5, null, "2.0"] });
});
