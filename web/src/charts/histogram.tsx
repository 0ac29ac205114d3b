// How late events were, in buckets that grow; the grace stands where it divides them.
import * as format from "../format";
import { Chart } from "../ui/chart";
import { useWidth } from "../ui/parts";
import { Table } from "../ui/table";

export interface Bucket {
  from_ms: number;
  to_ms: number | null;
  events: number;
}

const HEIGHT = 170;
const BOTTOM = 22;
const TOP = 34;

function label(bucket: Bucket): string {
  if (bucket.to_ms === null) return `over ${format.duration(bucket.from_ms)}`;
  return `${bucket.from_ms === 0 ? "0" : format.duration(bucket.from_ms)} to ${format.duration(bucket.to_ms)}`;
}

/** Where the grace stands among the buckets, in buckets. */
export function placeOf(grace: number, buckets: Bucket[]): number {
  const index = buckets.findIndex(({ to_ms }) => to_ms === null || grace < to_ms);
  const bucket = buckets[index];
  if (!bucket || bucket.to_ms === null) return index < 0 ? buckets.length : index;
  return index + (grace - bucket.from_ms) / (bucket.to_ms - bucket.from_ms);
}

export function Histogram({ name, buckets, grace }: { name: string; buckets: Bucket[]; grace: number }) {
  const most = buckets.reduce((best, bucket) => (bucket.events > best.events ? bucket : best));
  const summary = `Most were late by ${label(most)}. The grace is ${format.duration(grace)}.`;
  return (
    <Chart
      name={name}
      summary={summary}
      chart={<Drawing buckets={buckets} grace={grace} text={summary} />}
      table={() => (
        <Table
          caption={name}
          items={buckets}
          keyOf={(bucket) => bucket.from_ms}
          columns={[
            { name: "Late by", show: label },
            { name: "Events", isNumber: true, show: (bucket) => format.number(bucket.events) },
          ]}
        />
      )}
    />
  );
}

function Drawing({ buckets, grace, text }: { buckets: Bucket[]; grace: number; text: string }) {
  const [place, width] = useWidth();
  const top = Math.max(1, ...buckets.map((bucket) => bucket.events));
  const step = width / buckets.length;
  const every = Math.max(1, Math.ceil(46 / Math.max(1, step)));
  const mark = placeOf(grace, buckets) * step;
  return (
    <div ref={place} class="drawing" role="img" aria-label={text}>
      <svg width={width} height={HEIGHT} aria-hidden="true" class="bars">
        <line x1={0} x2={width} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM} class="base" />
        {buckets.map((bucket, index) => {
          const height = (bucket.events / top) * (HEIGHT - BOTTOM - TOP);
          return (
            <g key={bucket.from_ms}>
              <rect
                x={index * step + 1}
                y={HEIGHT - BOTTOM - height}
                width={Math.max(1, step - 2)}
                height={height}
                rx={2}
                class="late"
              />
              {bucket.events > 0 && step > 22 && (
                <text x={(index + 0.5) * step} y={HEIGHT - BOTTOM - height - 4} text-anchor="middle">
                  {format.short(bucket.events)}
                </text>
              )}
              {index > 0 && index % every === 0 && (
                <text x={index * step} y={HEIGHT - 6} text-anchor="middle">
                  {format.duration(bucket.from_ms).replace(" ", "")}
                </text>
              )}
            </g>
          );
        })}
        <path d={`M${mark} 17V${HEIGHT - BOTTOM}`} class="watermark" />
        <text x={Math.min(mark + 6, width - 60)} y={12}>
          grace
        </text>
      </svg>
    </div>
  );
}
