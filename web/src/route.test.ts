import { expect, it } from "vitest";
import { formatRoute, parseRoute } from "./route";

it.each([
  ["", "", []],
  ["#/", "", []],
  ["#/explore", "explore", []],
  ["#/explore/?a=1", "explore", [["a", "1"]]],
  [
    "#/explore?d.path=%2Fa%3Fb%26c&d.path2=",
    "explore",
    [
      ["d.path", "/a?b&c"],
      ["d.path2", ""],
    ],
  ],
])("%s is page %s with %j", (hash, page, params) => {
  const route = parseRoute(hash);
  expect([route.page, [...route.params]]).toEqual([page, params]);
});

it("comes back as it went", () => {
  const params = new URLSearchParams([
    ["rollup", "a b"],
    ["d.x", "<script>&=#?"],
  ]);
  expect([...parseRoute(formatRoute("explore", params)).params]).toEqual([...params]);
});
