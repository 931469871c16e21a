"use strict";
// Shows /state and the answers of Prometheus, which lies behind prometheus/.

const colours = ["#3a7bd5", "#d97706", "#2a9d4a", "#9b51e0", "#d6453d", "#0e9aa7"];
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

const ask = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};
const prometheus = async (path) => (await ask("prometheus/api/v1/" + path)).data;

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function link(href, text) {
  const a = element("a", text);
  a.href = href;
  return a;
}

// rows fills a table; a cell is a text or an element.
function rows(id, lines, none) {
  const body = document.querySelector(`#${id} tbody`);
  body.replaceChildren(...lines.map((cells) => {
    const tr = element("tr");
    tr.append(...cells.map((c) => { const td = element("td"); td.append(c); return td; }));
    return tr;
  }));
  if (!lines.length) {
    const td = element("td", none);
    td.colSpan = 9;
    body.append(element("tr"));
    body.firstChild.append(td);
  }
}

function ago(time) {
  const s = Math.max(0, (Date.now() - new Date(time)) / 1000);
  return s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`;
}

async function showState() {
  const state = await ask("state");
  document.querySelector("#begun").textContent = new Date(state.begun).toLocaleTimeString();
  rows("parts", state.parts.map((p) => [
    p.name, element("span", p.ready ? "ready" : p.lacks, "state " + (p.ready ? "ready" : "lacks")), link(p.metrics, p.metrics)]));
  rows("servers", Object.entries(state.servers).map(([name, how]) => [name, how.startsWith("http") ? link(how, how) : element("code", how)]));
  const f = state.figures;
  const tiles = {
    "records in Kafka": f.appended, "durable in the stores": f.durable, "rows of this run": f.written, "posts and changes": f.posts,
    "age of the newest live candle": f.newest ? number.format(Math.max(0, Date.now() / 1000 - f.newest)) + " s" : "none yet",
    "retries": f.retries, "dead letters": f.dead,
  };
  document.querySelector("#tiles").replaceChildren(...Object.entries(tiles).map(([name, value]) => {
    const div = element("div");
    div.append(element("b", typeof value === "number" ? number.format(value) : value), name);
    return div;
  }));
  return state.parts.every((p) => p.ready);
}

async function showAlerts() {
  const all = (await prometheus("alerts")).alerts;
  const alerts = all.filter((a) => a.labels.alertname !== "Watchdog");
  rows("alerts", alerts.map((a) => [
    a.annotations.runbook_url ? link(a.annotations.runbook_url, a.labels.alertname) : a.labels.alertname,
    element("span", a.labels.severity, a.labels.severity), a.state, ago(a.activeAt), a.annotations.summary || ""]),
    all.length ? "none but the Watchdog, which always fires" : "none: the rules were not evaluated yet");
  return !alerts.some((a) => a.state === "firing");
}

// draw shows the last minutes of a query as lines.
async function draw(figure) {
  const { query, label, unit } = figure.dataset;
  const end = Date.now() / 1000, minutes = 15;
  const data = await prometheus(`query_range?query=${encodeURIComponent(query)}&start=${end - minutes * 60}&end=${end}&step=5`);
  const lines = data.result.map((r) => ({
    name: r.metric[label] || "all", points: r.values.map(([t, v]) => [t, +v]).filter(([, v]) => Number.isFinite(v)) }))
    .filter((l) => l.points.length).sort((a, b) => a.name.localeCompare(b.name));
  const most = Math.max(1e-3, ...lines.flatMap((l) => l.points.map(([, v]) => v)));
  const begin = Math.min(end - 60, ...lines.map((l) => l.points[0][0]));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 500 130");
  svg.setAttribute("preserveAspectRatio", "none");
  const caption = element("figcaption");
  lines.forEach((l, i) => {
    const line = document.createElementNS(svg.namespaceURI, "polyline");
    line.setAttribute("points", l.points.map(([t, v]) => `${((t - begin) / (end - begin)) * 500},${125 - (v / most) * 120}`).join(" "));
    line.setAttribute("fill", "none");
    line.setAttribute("stroke", colours[i % colours.length]);
    line.setAttribute("stroke-width", "2");
    line.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(line);
    const name = element("span", `${l.name} ${number.format(l.points.at(-1)[1])}${unit}`);
    name.style.color = colours[i % colours.length];
    caption.append(name);
  });
  caption.append(element("span", lines.length ? `top ${number.format(most)}${unit}` : "no data yet"));
  figure.replaceChildren(svg, caption);
}

async function show() {
  const badge = document.querySelector("#health");
  try {
    const [ready, quiet] = await Promise.all([showState(), showAlerts()]);
    await Promise.all([...document.querySelectorAll("figure")].map(draw));
    badge.textContent = !ready ? "not ready" : quiet ? "healthy" : "alert";
    badge.className = "badge " + (ready && quiet ? "good" : "bad");
  } catch (e) {
    badge.textContent = "the demo does not answer: " + e.message;
    badge.className = "badge bad";
  }
  setTimeout(show, 2000);
}

show();
