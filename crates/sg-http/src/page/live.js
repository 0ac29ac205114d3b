// Shows live counts by asking the API once a second. Everything is set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
let last = null;

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function cell(row, kind, text, isNumber) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (isNumber) element.className = "number";
  row.append(element);
}

function table(rollup, rows) {
  const element = document.createElement("table");
  element.createCaption().textContent = rollup.name;
  const measures = rollup.measures.map((measure) => measure.name);
  const heading = element.createTHead().insertRow();
  cell(heading, "th", "window", false);
  rollup.by.forEach((name) => cell(heading, "th", name, false));
  measures.forEach((name) => cell(heading, "th", name, true));
  const body = element.createTBody();
  for (const data of rows) {
    const row = body.insertRow();
    cell(row, "td", data.window_start.replace("T", " ").replace(":00Z", ""), false);
    rollup.by.forEach((name) => cell(row, "td", data[name], false));
    measures.forEach((name) => cell(row, "td", data[name] === null ? "–" : number.format(data[name]), true));
  }
  return element;
}

async function showRollups() {
  const { rollups } = await get("/v1/rollups");
  const shown = [];
  for (const rollup of rollups) {
    const from = Date.now() - Math.max(3 * rollup.window_ms, 600000);
    const answer = await get(`/v1/rollups/${encodeURIComponent(rollup.name)}?from=${from}&limit=1000`);
    if (answer.data.length > 0) shown.push(table(rollup, answer.data.reverse().slice(0, 12)));
  }
  byId("tables").replaceChildren(...shown);
}

async function showNumbers() {
  const status = await get("/v1/status");
  const partitions = status.streams.flatMap((stream) => stream.partitions);
  const sum = (pick) => partitions.reduce((total, partition) => total + pick(partition), 0);
  const now = { at: performance.now(), processed: sum((partition) => partition.ledger.processed) };
  if (last !== null) {
    byId("rate").textContent = number.format(Math.round((now.processed - last.processed) / ((now.at - last.at) / 1000)));
  }
  last = now;
  byId("counted").textContent = number.format(sum((partition) => partition.ledger.counted));
  byId("duplicate").textContent = number.format(sum((partition) => partition.ledger.duplicate));
  byId("dead").textContent = number.format(sum((partition) => partition.ledger.dead_lettered));
  byId("lag").textContent = number.format(sum((partition) => partition.lag ?? 0));
  const health = byId("health");
  health.textContent = `up · ${status.log} log · ${status.store}`;
  health.className = "up";
}

async function tick() {
  try {
    await showNumbers();
    await showRollups();
  } catch (error) {
    byId("health").textContent = `not reachable: ${error.message}`;
    byId("health").className = "";
  }
  setTimeout(tick, 1000);
}

byId("origin").textContent = location.origin;
tick();
