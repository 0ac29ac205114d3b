// A small line without axes, beside a number that says the same.

export function Spark({
  values,
  width = 96,
  height = 22,
  isFilled = false,
}: {
  values: (number | null)[];
  width?: number;
  height?: number;
  isFilled?: boolean;
}) {
  const known = values.filter((value): value is number => value !== null);
  if (known.length < 2) return <svg class="spark" width={width} height={height} aria-hidden="true" />;
  const top = Math.max(...known, 1e-9);
  const least = Math.min(0, ...known);
  const x = (index: number) => (index / (values.length - 1)) * (width - 2) + 1;
  const y = (value: number) => height - 2 - ((value - least) / (top - least)) * (height - 4);
  const line = path(values, x, y);
  const first = values.findIndex((value) => value !== null);
  const last = values.findLastIndex((value) => value !== null);
  const area = `${line}L${x(last)} ${height}L${x(first)} ${height}Z`;
  return (
    <svg
      class="spark"
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {isFilled && <path d={area} class="area" />}
      <path d={line} class="line" />
    </svg>
  );
}

function path(values: (number | null)[], x: (index: number) => number, y: (value: number) => number): string {
  let isDown = false;
  return values
    .map((value, index) => {
      if (value === null) return "";
      const move = isDown ? "L" : "M";
      isDown = true;
      return `${move}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join("");
}
