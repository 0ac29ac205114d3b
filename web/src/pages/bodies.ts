// Bodies to begin with, as clients of the five systems send them. Dated now, so that they land in the newest window.

export interface Example {
  name: string;
  path: string;
  body: string;
}

/** A stream as the server has it, with its own names for what all events have. */
export interface Known {
  name: string;
  fields?: { event_type?: string; timestamp?: string };
}

/** What a server with these streams takes, or what one with the built-in streams does where they are not known. */
export function examples(now: Date, streams: Known[] | null): Example[] {
  const all = builtIn(now);
  if (streams === null) return all.map(([, example]) => example);
  const isKnown = (name: string) => streams.some((stream) => stream.name === name && !stream.fields);
  const own = streams.filter((stream) => stream.fields || !all.some(([name]) => name === stream.name));
  return [
    ...all.filter(([name]) => isKnown(name)).map(([, example]) => example),
    ...own.map((stream) => ownExample(now, stream)),
  ];
}

/** What to send first: the shortest that a server with these streams counts. */
export function firstEvent(now: Date, streams: Known[] | null): { path: string; body: string } {
  const short = { path: "/v1/events", body: '{"event_type":"page_view","user_id":"you"}' };
  if (streams === null || streams.some(({ name, fields }) => name === "events" && !fields)) return short;
  const [example] = examples(now, streams);
  return example ? { path: example.path, body: JSON.stringify(JSON.parse(example.body)) } : short;
}

function ownExample(now: Date, { name, fields }: Known): Example {
  const event = {
    [fields?.event_type ?? "event_type"]: "try",
    [fields?.timestamp ?? "timestamp"]: now.toISOString().replace(/\.\d+Z$/, "Z"),
  };
  const path = `/v1/events?stream=${encodeURIComponent(name)}`;
  return { name, path, body: JSON.stringify(event, null, 2) };
}

/** Each with the stream that it is for. */
function builtIn(now: Date): [string, Example][] {
  const iso = now.toISOString().replace(/\.\d+Z$/, "Z");
  const seconds = Math.floor(now.getTime() / 1000);
  const pretty = (body: unknown) => JSON.stringify(body, null, 2);
  return [
    [
      "events",
      {
        name: "Hourly aggregations",
        path: "/v1/events",
        body: pretty({ event_type: "page_view", user_id: "u-1", timestamp: iso, properties: { path: "/home" } }),
      },
    ],
    [
      "pageviews",
      {
        name: "Pageviews",
        path: "/api/pageviews",
        body: pretty({ user_id: 1234, postcode: "SW19", webpage: "www.website.com/index.html", timestamp: seconds }),
      },
    ],
    [
      "stream.events",
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
    ],
    [
      "events",
      {
        name: "Event platform",
        path: "/events",
        body: pretty({ user_id: "u1", event_name: "signup", metadata: { plan: "pro" }, timestamp: iso }),
      },
    ],
    [
      "events",
      {
        name: "Web analytics",
        path: "/events",
        body: pretty({ sessionId: "test-1", eventType: "page_view", payload: '{"path":"/home"}' }),
      },
    ],
  ];
}
