// Numbers as the server wrote them. JSON.parse makes a double of every number and so loses digits of decimals; here a
// number that a double would not write back the same stays as its text.

/** A number that is kept as it was written. */
export class Exact {
  constructor(readonly text: string) {}
  valueOf(): number {
    return Number(this.text);
  }
  toString(): string {
    return this.text;
  }
  toJSON(): unknown {
    return this.text;
  }
}

export type Numeric = number | Exact;

const MARK = "\ue000";
const MARKED = /^"(?:\ue000|\\u[eE]000)/;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Parses JSON; numbers that a double cannot write back are Exact. */
export function parseExact(text: string): unknown {
  const marked = text.replace(TOKEN, (token, at: number) => {
    if (!token.startsWith('"')) return String(Number(token)) === token ? token : `"${MARK}${token}"`;
    // A text that begins with the mark gets a second one; names of members are no values.
    const isValue = MARKED.test(token) && !/^\s*:/.test(text.slice(at + token.length, at + token.length + 8));
    return isValue ? `"${MARK}${token.slice(1)}` : token;
  });
  return JSON.parse(marked, (_, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith(MARK)) return value;
    return value.startsWith(MARK, 1) ? value.slice(1) : new Exact(value.slice(1));
  });
}

export function isNumeric(value: unknown): value is Numeric {
  return typeof value === "number" || value instanceof Exact;
}

/** A number to draw with; null where there is none. */
export function toDraw(value: unknown): number | null {
  if (!isNumeric(value)) return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

/** The same with every number as a double: for figures about the server, which are computed with. */
export function plain<Value>(value: Value): Value {
  if (value instanceof Exact) return Number(value) as Value;
  if (Array.isArray(value)) return value.map(plain) as Value;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)])) as Value;
}

/** Adds decimals without rounding. */
export function addExact(left: Numeric, right: Numeric): Numeric {
  const [a, b] = [String(left), String(right)];
  if (/[eE]/.test(a + b)) return Number(a) + Number(b);
  const scale = Math.max(fraction(a), fraction(b));
  const sum = scaled(a, scale) + scaled(b, scale);
  const digits = (sum < 0n ? -sum : sum).toString().padStart(scale + 1, "0");
  const whole = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return new Exact(sum < 0n ? `-${whole}` : whole);
}

function fraction(text: string): number {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

function scaled(text: string, scale: number): bigint {
  return BigInt(text.replace(".", "") + "0".repeat(scale - fraction(text)));
}
