// The page of one run: keeps the newest state that the run sends, and shows it. Figures are texts that the run has made;
// they become numbers here only to be drawn. Everything is set as text, never as markup.
import { Chart } from "./chart.js";

const STALE_MILLIS = 5000;
const POINTS = 1440; // kept for the curve; then every second one

const byId = (id) => document.getElementById(id);
let times = [];
let amounts = []; // per time: {series: text}
let state = null;
let heardAt = 0;
let ended = false;
let connected = false;

// --- what the run sends

const source = new EventSource("events");
source.addEventListener("history", (event) => {
  const points = JSON.parse(event.data);
  times = points.map(([time]) => time);
  amounts = points.map(([, values]) => values);
});
source.addEventListener("state", (event) => {
  state = JSON.parse(event.data);
  remember(Date.parse(state.time), state);
  heardAt = performance.now();
  connected = true;
  ended = false;
  show();
});
source.addEventListener("end", () => {
  ended = true;
  connected = false;
  showConnection();
});
source.onerror = () => {
  connected = false;
  showConnection();
};
setInterval(showConnection, 1000);

function remember(time, { strategies, totals }) {
  if (times.length && time <= times.at(-1)) return;
  const values = Object.fromEntries(strategies.map((row) => [row.key, row.pnl]));
  for (const { currency, pnl } of totals) values[currency] = pnl;
  times.push(time);
  amounts.push(values);
  if (times.length > POINTS) {
    times = times.filter((_, index) => index % 2 === 0);
    amounts = amounts.filter((_, index) => index % 2 === 0);
  }
}

// --- texts

const clock = (iso) => iso.slice(11, 19);
const grouped = (value) => String(value).replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
const signed = (text) => (text === "" ? "–" : text.startsWith("-") ? grouped(text) : `+${grouped(text)}`);
const sign = (text) => (text === "" || Number(text) === 0 ? "" : text.startsWith("-") ? "loss" : "gain");

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

// --- the parts of the page

function show() {
  showConnection();
  put(byId("message"), state.message);
  byId("message").hidden = !state.message;
  showTiles();
  showCharts();
  byId("stops-section").hidden = !state.stops.length;
  for (const id of ["stops", "limits", "strategies", "positions", "orders", "fills", "venues"]) showTable(byId(id), state[id]);
  const more = state.orders_open - state.orders.length;
  put(byId("orders-note"), more > 0 ? `the newest ${state.orders.length} of ${state.orders_open}` : "");
  const [total] = state.totals;
  document.title = total?.pnl ? `${signed(total.pnl)} ${total.currency} · CroweTrade` : "CroweTrade";
}

function showConnection() {
  const silent = performance.now() - heardAt;
  const [tone, text] = ended
    ? ["waits", "The run has ended. Start it again and this page goes on."]
    : !connected
      ? ["bad", state ? "The connection to the run is lost. Trying again." : "Connecting to the run"]
      : silent > STALE_MILLIS
        ? ["waits", `The run has sent nothing for ${Math.floor(silent / 1000)} s`]
        : ["good", "Live"];
  const shown = byId("connection");
  shown.dataset.tone = tone;
  put(shown, text);
  document.body.classList.toggle("stale", tone !== "good");
  put(byId("clock"), state ? `${state.time.slice(0, 10)} ${clock(state.time)} UTC` : "");
}

function showTiles() {
  const sum = (field) => state.strategies.reduce((total, row) => total + row[field], 0);
  const trading = state.strategies.filter((row) => row.tone === "good").length;
  const highest = state.limits.reduce((found, row) => (!found || row.filled > found.filled ? row : found), null);
  const tiles = [
    ...state.totals.map(({ currency, pnl }) => [`PnL, ${currency}`, signed(pnl), "", sign(pnl)]),
    ["Strategies trading", `${trading} of ${state.strategies.length}`, ""],
    ["Orders sent", grouped(sum("sent")), `${grouped(state.orders_open)} open`],
    ["Orders filled", grouped(sum("filled")), `${grouped(sum("refused"))} refused`],
    ["Highest use of a limit", highest ? highest.share : "–", highest ? `${highest.limit}, ${highest.label}` : ""],
  ];
  const list = byId("tiles");
  while (list.children.length > tiles.length) list.lastChild.remove();
  tiles.forEach(([name, value, detail, className = ""], index) => {
    let tile = list.children[index];
    if (!tile) {
      tile = element("div");
      const dd = element("dd");
      dd.append(element("span"), element("small"));
      tile.append(element("dt"), dd);
      list.append(tile);
    }
    put(tile.querySelector("dt"), name);
    put(tile.querySelector("span"), value);
    tile.querySelector("span").className = className;
    put(tile.querySelector("small"), detail);
  });
}

const charts = new Map(); // by currency

function showCharts() {
  for (const { currency } of state.totals) {
    if (!charts.has(currency)) charts.set(currency, new Chart(byId("charts"), currency, signed));
  }
  for (const [currency, chart] of charts) {
    const strategies = state.strategies.filter((row) => row.currency === currency);
    if (!strategies.length) {
      chart.remove();
      charts.delete(currency);
      continue;
    }
    const series = strategies.map((row) => ({ key: row.key, label: row.label }));
    if (series.length > 1) series.unshift({ key: currency, label: "Total", total: true });
    chart.draw(times, amounts, series);
  }
}

// How a cell shows the value of its column; the columns are the heads of the table in page.html.
const KINDS = {
  text: (cell, value) => put(cell, String(value)),
  number: (cell, value) => put(cell, value === "" ? "–" : grouped(value)),
  time: (cell, value) => put(cell, clock(value)),
  money: (cell, value, row) => {
    if (!cell.firstChild) cell.append(element("span"), element("small"));
    put(cell.firstChild, signed(value));
    cell.firstChild.className = sign(value);
    put(cell.lastChild, row.currency ? ` ${row.currency}` : "");
  },
  side: (cell, value) => {
    put(cell, value);
    cell.className = value.toLowerCase();
  },
  state: (cell, value, row) => {
    if (!cell.firstChild) cell.append(element("span", "state"));
    cell.firstChild.dataset.tone = row.tone;
    put(cell.firstChild, value);
  },
  limit: (cell, value, row) => putWithDetail(cell, value, row.scope ? `${row.label}: ${row.scope}` : row.label),
  venue: (cell, value, row) => putWithDetail(cell, value, row.why),
  stop: (cell, value, row) => putWithDetail(cell, `${row.kind} ${value}`, row.why),
  share: (cell, value, row) => {
    if (!cell.firstChild) {
      const track = element("span", "track");
      track.append(element("span"));
      cell.append(element("span"), track);
    }
    cell.dataset.tone = row.tone;
    put(cell.firstChild, value);
    cell.lastChild.firstChild.style.width = `${row.filled * 100}%`;
  },
};

function putWithDetail(cell, text, detail) {
  if (!cell.firstChild) cell.append(element("span"), element("span", "detail"));
  put(cell.firstChild, text);
  put(cell.lastChild, detail);
}

function showTable(table, rows) {
  const heads = [...table.querySelectorAll("thead th")];
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  const first = body.dataset.shown !== "yes";
  body.dataset.shown = "yes";
  const shown = rows.map((row) => {
    const tr = known.get(row.key) ?? newRow(heads, row.key, !first);
    heads.forEach((head, index) => {
      const { field, kind } = head.dataset;
      const cell = tr.cells[index];
      const value = row[field];
      (KINDS[kind] ?? KINDS.text)(cell, value, row);
      cell.toggleAttribute("data-blank", value === "");
    });
    return tr;
  });
  if (!shown.length) shown.push(known.get("") ?? emptyRow(body.dataset.empty, heads.length));
  // Only what is new or moves is inserted: a row that stays keeps its focus, its selection and its place on the screen.
  for (const tr of [...body.rows]) if (!shown.includes(tr)) tr.remove();
  shown.forEach((tr, index) => {
    if (body.rows[index] !== tr) body.insertBefore(tr, body.rows[index] ?? null);
  });
}

function newRow(heads, key, fresh) {
  const tr = element("tr", fresh ? "fresh" : "");
  tr.dataset.key = key;
  heads.forEach((head, index) => {
    const cell = element(index ? "td" : "th");
    if (!index) cell.scope = "row";
    cell.dataset.label = head.textContent;
    if (head.dataset.kind) cell.dataset.kind = head.dataset.kind;
    tr.append(cell);
  });
  return tr;
}

function emptyRow(text, columns) {
  const tr = element("tr");
  tr.dataset.key = "";
  const cell = element("td", "empty", text);
  cell.colSpan = columns;
  tr.append(cell);
  return tr;
}
