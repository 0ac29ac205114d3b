// Finds a member of an object in the text of its JSON, so that it can be shown where it stands.

/** Returns where the member of this name stands, name and value; null where it does not. */
export function findField(raw: string, field: string): [number, number] | null {
  const name = nameOf(field);
  if (name === "") return null;
  for (const match of raw.matchAll(/"(?:[^"\\]|\\.)*"/g)) {
    if (unquoted(match[0]) !== name) continue;
    const behind = match.index + match[0].length;
    const colon = /^\s*:\s*/.exec(raw.slice(behind));
    if (colon) return [match.index, endOfValue(raw, behind + colon[0].length)];
  }
  return null;
}

/** The member's own name in its path. */
export function nameOf(field: string): string {
  return field.split(/[./]/).filter(Boolean).at(-1) ?? "";
}

function unquoted(token: string): string {
  try {
    return String(JSON.parse(token));
  } catch {
    return token;
  }
}

function endOfValue(raw: string, start: number): number {
  let depth = 0;
  for (const match of raw.slice(start).matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/g)) {
    const at = start + match.index;
    if (match[0] === "{" || match[0] === "[") depth += 1;
    else if (match[0] === "}" || match[0] === "]") {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (match[0] === "," && depth === 0) return at;
    else if (match[0].startsWith('"') && depth === 0) return at + match[0].length;
  }
  return raw.length;
}
