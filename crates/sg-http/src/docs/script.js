// Shows the operations of /openapi.json, each with a request that can be changed, sent and copied as curl. Everything is
// set as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
// Of a stream of events that does not end so many bytes are shown.
const STREAM_BYTES_MAX = 2000;
const byId = (id) => document.getElementById(id);
let api = null;

// Makes an element with properties and children; texts become text nodes.
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.includes("-") || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Returns a text's nodes: what stands between backticks is code.
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? make("code", {}, part) : part));
}

// Follows a reference such as #/components/schemas/Row.
function resolved(value) {
  if (!value?.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, part) => at[part], api);
}

function nameOf(schema) {
  return schema?.$ref ? schema.$ref.split("/").pop() : null;
}

// Says what a schema allows in a few words.
function kindOf(schema) {
  const found = resolved(schema) ?? {};
  if (found.enum) return found.enum.length > 8 ? "one of the codes" : found.enum.join(" | ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.oneOf) return found.oneOf.map(kindOf).join(", or ");
  if (found.type === "array") return `list of ${kindOf(found.items)}`;
  const type = [found.type ?? "any"].flat().join(" or ");
  const range = "minimum" in found && "maximum" in found ? `, ${found.minimum} to ${found.maximum}` : "";
  const unless = "default" in found ? `, ${found.default} unless given` : "";
  return (nameOf(schema) ?? type) + range + unless;
}

// Lists the members of an object, as deep as they are written down.
function membersOf(schema, depth = 0) {
  const found = resolved(schema) ?? {};
  if (found.oneOf) return make("div", {}, ...found.oneOf.map((one) => membersOf(one, depth)).filter(Boolean));
  if (found.type === "array") return membersOf(found.items, depth);
  if (!found.properties || depth > 4) return null;
  const required = new Set(found.required ?? []);
  const items = Object.entries(found.properties).map(([name, member]) => {
    const is = resolved(member);
    const kind = make("span", { className: "kind" }, ` ${kindOf(member)}${required.has(name) ? "" : ", may be absent"}`);
    const note = is.description ? make("span", {}, ` · ${is.description}`) : null;
    return make("li", {}, make("code", {}, name), kind, note, membersOf(member, depth + 1));
  });
  if (found.additionalProperties) items.push(make("li", { className: "kind" }, "… and others"));
  return make("ul", { className: "members" }, ...items);
}

function answersOf(operation) {
  const list = make("dl", { className: "answers" });
  for (const [status, reference] of Object.entries(operation.responses)) {
    const response = resolved(reference);
    const shown = make("dd", {}, ...prose(response.description));
    for (const [kind, { schema }] of Object.entries(response.content ?? {})) {
      const members = membersOf(schema);
      const title = make("summary", {}, kind);
      shown.append(members ? make("details", {}, title, members) : make("div", { className: "kind" }, kind));
    }
    list.append(make("dt", {}, status), shown);
  }
  return list;
}

function exampleText(parameter) {
  const value = parameter.example;
  if (value === undefined || value === null) return "";
  return String(value);
}

function fieldFor(parameter, id) {
  const schema = resolved(parameter.schema);
  const words = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  let input;
  if (words) {
    const options = words.map((word) => make("option", { value: word }, word));
    input = make("select", { id }, ...(parameter.required ? [] : [make("option", { value: "" }, "")]), ...options);
  } else {
    const hint = schema.type === "object" ? "name=value&name=value" : String(schema.default ?? "");
    input = make("input", { id, type: "text", placeholder: hint, autocomplete: "off", spellcheck: false });
  }
  input.value = exampleText(parameter);
  input.setAttribute("aria-describedby", `${id}-note`);
  const note = [kindOf(parameter.schema), parameter.required ? "required" : null, parameter.description];
  const label = make("label", { for: id }, parameter.name);
  return { parameter, schema, input, row: make("div", { className: "field" }, label, input,
    make("p", { className: "note", id: `${id}-note` }, ...prose(note.filter(Boolean).join(" · ")))) };
}

// The body of a request: its examples to choose from, and a text to change.
function bodyFor(operation, id) {
  const all = Object.entries(operation.requestBody?.content ?? {}).flatMap(([kind, { examples }]) =>
    Object.values(examples ?? {}).map(({ summary, value }) => ({
      kind, summary, text: typeof value === "string" ? value : JSON.stringify(value, null, 2),
    })));
  if (all.length === 0) return null;
  const choice = make("select", { id: `${id}-example` }, ...all.map(({ summary }, at) => make("option", { value: at }, summary)));
  const text = make("textarea", { id: `${id}-body`, spellcheck: false });
  const body = { kind: all[0].kind, text };
  const choose = () => {
    const chosen = all[choice.value];
    body.kind = chosen.kind;
    text.value = chosen.text;
    text.rows = Math.min(14, chosen.text.split("\n").length + 1);
  };
  choice.addEventListener("change", choose);
  choose();
  body.row = make("div", {}, make("h4", {}, "Body"),
    make("div", { className: "choice" }, make("label", { for: choice.id }, "Example"), choice),
    make("label", { className: "said", for: text.id }, "What is sent"), text);
  return body;
}

// Returns the method, the path with its query, and the body as the fields stand now.
function requestOf(method, path, fields, body) {
  const query = [];
  let target = path;
  for (const { parameter, schema, input } of fields) {
    const value = input.value;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== "" && schema.type === "object") query.push(new URLSearchParams(value).toString());
    else if (value !== "") query.push(`${encodeURIComponent(parameter.name)}=${encodeURIComponent(value)}`);
  }
  const url = query.length > 0 ? `${target}?${query.join("&")}` : target;
  return { method: method.toUpperCase(), url, kind: body?.kind, text: body?.text.value };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curlOf({ method, url, kind, text }) {
  const parts = ["curl", quoted(location.origin + url)];
  if (method !== "GET") parts.splice(1, 0, "-X", method);
  if (text !== undefined) parts.push("-H", quoted(`content-type: ${kind}`), "--data-binary", quoted(text));
  return parts.join(" ");
}

// Reads an answer; of one that does not end the first events.
async function readAnswer(answer, stop) {
  if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer.text();
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (text.split("\n\n").length < 4 && text.length < STREAM_BYTES_MAX) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  stop.abort();
  return `${text}…`;
}

// Lays JSON out in lines. Numbers keep all their digits: the text itself is indented, not what a parser makes of it.
function laidOut(text) {
  let depth = 0;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let shown = "";
  tokens.forEach((token, at) => {
    const line = (by) => `\n${"  ".repeat(depth += by)}`;
    const isEmpty = (open, close) => token === open && tokens[at + 1] === close;
    if (token === "}" || token === "]") shown += /[{[]$/.test(shown) ? (depth -= 1, token) : line(-1) + token;
    else if (isEmpty("{", "}") || isEmpty("[", "]")) { depth += 1; shown += token; }
    else if (token === "{" || token === "[") shown += token + line(1);
    else if (token === ",") shown += token + line(0);
    else shown += token === ":" ? ": " : token;
  });
  return shown;
}

async function send(request, out, button) {
  const stop = new AbortController();
  const began = performance.now();
  button.disabled = true;
  out.replaceChildren(make("p", { className: "said" }, "Sending…"));
  try {
    const headers = request.text === undefined ? {} : { "content-type": request.kind };
    const answer = await fetch(request.url, { method: request.method, headers, body: request.text, signal: stop.signal, cache: "no-store" });
    const text = await readAnswer(answer, stop);
    const took = Math.round(performance.now() - began);
    const kind = answer.headers.get("content-type") ?? "no body";
    const status = make("span", { className: answer.ok ? "status fine" : "status wrong" }, `${answer.status} ${answer.statusText}`);
    out.replaceChildren(make("p", {}, status, make("span", { className: "said" }, `  ${took} ms · ${kind}`)));
    if (text !== "") out.append(make("pre", { tabIndex: 0 }, kind.includes("json") && !kind.includes("ndjson") ? laidOut(text) : text));
  } catch (error) {
    out.replaceChildren(make("p", { className: "status wrong" }, `No answer: ${error.message}`));
  }
  button.disabled = false;
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied";
  } catch {
    // Browsers give the clipboard only to pages that are safe to them: the line is shown instead.
    said.textContent = text;
  }
}

function contentOf(operation, method, path, id) {
  const fields = (operation.parameters ?? []).map(resolved).map((parameter, at) => fieldFor(parameter, `${id}-${at}`));
  const body = bodyFor(operation, id);
  const out = make("div", { "aria-live": "polite" });
  const said = make("span", { className: "said", role: "status" });
  const button = make("button", { className: "main", type: "submit" }, "Send");
  const curl = make("button", { type: "button" }, "Copy as curl");
  curl.addEventListener("click", () => copy(curlOf(requestOf(method, path, fields, body)), said));
  const form = make("form", {}, fields.length > 0 ? make("h4", {}, "Parameters") : null,
    ...fields.map((field) => field.row), body?.row ?? null,
    make("div", { className: "actions" }, button, curl, said));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(requestOf(method, path, fields, body), out, button);
  });
  const about = operation.description ? make("p", {}, ...prose(operation.description)) : null;
  return make("div", { className: "body" }, about, form, out, make("h4", {}, "Answers"), answersOf(operation));
}

// Makes an operation's article; what is inside is made when it is opened first.
function articleOf({ operation, method, path, id }) {
  const article = make("article", { id });
  const button = make("button", { type: "button", "aria-expanded": "false" },
    make("span", { className: `method ${method}` }, method.toUpperCase()),
    make("span", { className: "path" }, path), make("span", { className: "summary" }, operation.summary));
  let content = null;
  article.open = (isOpen) => {
    if (content === null && isOpen) article.append(content = contentOf(operation, method, path, id));
    if (content !== null) content.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
  };
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") !== "true";
    article.open(isOpen);
    if (isOpen) history.replaceState(null, "", `#${id}`);
  });
  article.append(make("h3", {}, button));
  return article;
}

// Returns the operations of each tag, each under its first one.
function grouped() {
  const all = Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => {
    const operation = item[method];
    const names = (operation.parameters ?? []).map((parameter) => resolved(parameter).name);
    const words = [method, path, operation.summary, operation.description, ...operation.tags, ...names];
    return { method, path, operation, id: operation.operationId, words: words.join(" ").toLowerCase() };
  }));
  return api.tags.map((tag) => ({ tag, entries: all.filter(({ operation }) => operation.tags[0] === tag.name) }))
    .filter(({ entries }) => entries.length > 0);
}

function show() {
  byId("version").textContent = api.info.version;
  byId("about").replaceChildren(...prose(api.info.description));
  document.title = `API · ${api.info.title}`;
  const groups = grouped();
  for (const group of groups) {
    const links = group.entries.map((entry) => {
      entry.article = articleOf(entry);
      entry.link = make("li", {}, make("a", { href: `#${entry.id}` },
        make("span", { className: `method ${entry.method}` }, entry.method.toUpperCase()), ` ${entry.path}`));
      return entry.link;
    });
    group.list = make("section", {}, make("h2", {}, group.tag.name), make("ul", {}, ...links));
    group.section = make("section", {}, make("h2", {}, group.tag.name),
      make("p", { className: "lead" }, group.tag.description), ...group.entries.map(({ article }) => article));
    byId("contents").append(group.list);
    byId("operations").append(group.section);
  }
  return groups;
}

// Shows the operations that have every word that was typed.
function search(groups, typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const group of groups) {
    let inGroup = 0;
    for (const entry of group.entries) {
      const fits = words.every((word) => entry.words.includes(word));
      entry.article.hidden = entry.link.hidden = !fits;
      inGroup += fits ? 1 : 0;
    }
    group.section.hidden = group.list.hidden = inGroup === 0;
    count += inGroup;
  }
  byId("found").textContent = words.length === 0 ? `${count} operations` : `${count} found`;
}

// Opens the operation that the address names.
function openNamed() {
  const article = byId(decodeURIComponent(location.hash.slice(1)));
  if (!article?.open) return;
  article.open(true);
  article.scrollIntoView();
  article.querySelector("button").focus({ preventScroll: true });
}

async function begin() {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    api = await answer.json();
  } catch (error) {
    byId("about").textContent = `/openapi.json could not be read: ${error.message}`;
    return;
  }
  const groups = show();
  const input = byId("search");
  input.addEventListener("input", () => search(groups, input.value));
  search(groups, "");
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
    }
    if (event.key === "Escape" && event.target === input) {
      input.value = "";
      search(groups, "");
    }
  });
  window.addEventListener("hashchange", openNamed);
  openNamed();
}

begin();
