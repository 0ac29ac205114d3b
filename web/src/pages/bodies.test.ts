import { expect, it } from "vitest";
import { examples, firstEvent } from "./bodies";

const NOW = new Date("2026-01-02T03:04:05.678Z");
const names = (streams: Parameters<typeof examples>[1]) => examples(NOW, streams).map(({ name }) => name);

it("offers what the server takes", () => {
  const builtIn = ["Hourly aggregations", "Pageviews", "Stream metrics", "Event platform", "Web analytics"];
  expect(names(null)).toEqual(builtIn);
  expect(names([{ name: "events" }, { name: "pageviews" }, { name: "stream.events" }])).toEqual(builtIn);
  expect(names([{ name: "pageviews" }, { name: "orders" }])).toEqual(["Pageviews", "orders"]);
});

it("writes an event with the stream's own names", () => {
  const fields = { event_type: "kind", timestamp: "at" };
  const [own, plain] = examples(NOW, [{ name: "my shop", fields }, { name: "orders" }]);
  expect(own).toMatchObject({ name: "my shop", path: "/v1/events?stream=my%20shop" });
  expect(JSON.parse(own!.body)).toEqual({ kind: "try", at: "2026-01-02T03:04:05Z" });
  expect(JSON.parse(plain!.body)).toEqual({ event_type: "try", timestamp: "2026-01-02T03:04:05Z" });
});

it("has nothing built in for a stream that reads other names", () => {
  expect(names([{ name: "events", fields: { event_type: "kind" } }])).toEqual(["events"]);
});

it("begins with what the streams take", () => {
  const short = { path: "/v1/events", body: '{"event_type":"page_view","user_id":"you"}' };
  for (const streams of [null, [], [{ name: "orders" }, { name: "events" }]])
    expect(firstEvent(NOW, streams)).toEqual(short);
  const fields = { event_type: "kind", timestamp: "at" };
  for (const name of ["orders", "events"])
    expect(firstEvent(NOW, [{ name, fields }])).toEqual({
      path: `/v1/events?stream=${name}`,
      body: '{"kind":"try","at":"2026-01-02T03:04:05Z"}',
    });
  expect(firstEvent(NOW, [{ name: "pageviews" }]).path).toBe("/api/pageviews");
});
