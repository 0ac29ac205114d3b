// Bodies to begin with, as clients of the five systems send them. Dated now, so that they land in the newest window.

export interface Example {
  name: string;
  path: string;
  body: string;
}

export function examples(now: Date): Example[] {
  const iso = now.toISOString().replace(/\.\d+Z$/, "Z");
  const seconds = Math.floor(now.getTime() / 1000);
  const pretty = (body: unknown) => JSON.stringify(body, null, 2);
  return [
    {
      name: "Hourly aggregations",
      path: "/v1/events",
      body: pretty({ event_type: "page_view", user_id: "u-1", timestamp: iso, properties: { path: "/home" } }),
    },
    {
      name: "Pageviews",
      path: "/api/pageviews",
      body: pretty({ user_id: 1234, postcode: "SW19", webpage: "www.website.com/index.html", timestamp: seconds }),
    },
    {
      name: "Stream metrics",
      path: "/v1/events?stream=stream.events",
      body: pretty({
        event_id: crypto.randomUUID(),
        ts: iso,
        event_type: "donation",
        stream_id: "s1",
        user_id: "u-7",
        amount_usd: "12.50",
      }),
    },
    {
      name: "Event platform",
      path: "/events",
      body: pretty({ user_id: "u1", event_name: "signup", metadata: { plan: "pro" }, timestamp: iso }),
    },
    {
      name: "Web analytics",
      path: "/events",
      body: pretty({ sessionId: "test-1", eventType: "page_view", payload: '{"path":"/home"}' }),
    },
  ];
}
