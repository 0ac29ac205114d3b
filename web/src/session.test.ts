import { expect, it } from "vitest";
import { canLook, lacking } from "./session";

it("says what a key does not allow, and nothing where all is allowed", () => {
  const keys = (...scopes: string[]) => ({ auth: "keys" as const, scopes, session: true });
  expect(lacking(keys("query"), "admin")).toBe("Needs a key with the scope admin.");
  expect(lacking(keys("query"), "query")).toBe("");
  expect(lacking(keys("ingest", "query", "admin"), "admin")).toBe("");
  expect(lacking({ auth: "off", scopes: [], session: false }, "admin")).toBe("");
  // Not known yet: the server decides.
  expect(lacking(null, "admin")).toBe("");
  expect([keys("ingest"), keys("query"), null].map(canLook)).toEqual([false, true, true]);
});
