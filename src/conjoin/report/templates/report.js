"use strict";
const drawn = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("screen and (prefers-color-scheme: dark)");
let printing = false;

function theme(layout) {
  const ink = printing ? "#000" : getComputedStyle(document.body).color;
  const line = dark.matches && !printing ? "#3b4552" : "#d5dae2";
  const axis = (own) => ({ gridcolor: line, zerolinecolor: line, automargin: true, ...own });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
    margin: { l: 60, r: 20, t: 10, b: 50 }, width: printing ? 690 : undefined,
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" }, ...layout,
    xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
  };
}

const quiet = { displayModeBar: false, responsive: true };

function figures() {
  for (const figure of drawn.figures) {
    Plotly.react("plot-" + figure.key, figure.traces, theme(figure.layout), quiet);
  }
}

// The plotting library reads a few tags in what it writes: labels stay words.
const words = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("%{", "% {");

const points = drawn.map.points;
let order = points.map((_, i) => i);
let now = -1;
let kept = false;

function mapped() {
  const by = document.getElementById("colour").value;
  const value = (p) => (by === "modality" ? p.modality : p.by[by]);
  const names = [...new Set(points.map(value))].sort();
  const traces = names.map((name, place) => {
    const own = points.map((p, i) => i).filter((i) => value(points[i]) === name);
    return {
      type: "scatter", mode: "markers", name: words(name), x: own.map((i) => points[i].x),
      y: own.map((i) => points[i].y), customdata: own, text: own.map((i) => words(points[i].label)),
      hovertemplate: "%{text}<extra>" + words(name) + "</extra>",
      marker: { color: drawn.colours[place % 8], symbol: drawn.shapes[(place + 3 * Math.floor(place / 8)) % 8], size: 7, opacity: 0.8 },
    };
  });
  if (now >= 0) {
    traces.push({ type: "scatter", mode: "markers", name: "shown", x: [points[now].x], y: [points[now].y],
      hoverinfo: "skip", marker: { size: 18, symbol: "circle-open", line: { width: 3 }, color: getComputedStyle(document.body).color } });
  }
  const bare = { visible: false };
  Plotly.react("plot-map", traces, theme({ height: 560, hovermode: "closest", margin: { l: 0, r: 0, t: 10, b: 10 },
    xaxis: bare, yaxis: bare }), quiet);
}

function tell(index) {
  const point = points[index];
  const panel = document.getElementById("panel");
  panel.replaceChildren();
  const name = document.createElement("p");
  const strong = document.createElement("strong");
  strong.textContent = point.label;
  name.append(strong, " (" + point.modality + ")");
  if (point.kind === "image" && point.uri) {
    const image = document.createElement("img");
    image.src = point.uri;
    image.alt = point.label;
    panel.append(image);
  } else if (point.kind === "audio" && point.uri) {
    const sound = document.createElement("audio");
    sound.controls = true;
    sound.src = point.uri;
    sound.setAttribute("aria-label", "Sound: " + point.label);
    panel.append(sound);
  } else if (point.kind === "text") {
    const words = document.createElement("p");
    words.textContent = point.text;
    words.dir = "auto";
    panel.append(words);
  }
  panel.append(name);
  const by = drawn.map.columns.map((c) => c + ": " + point.by[c]).join(" · ");
  if (by) {
    const also = document.createElement("p");
    also.className = "soft";
    also.textContent = by;
    panel.append(also);
  }
}

function step(by) {
  now = now < 0 && by < 0 ? order.length - 1 : (now + by + order.length) % order.length;
  kept = true;
  tell(now);
  mapped();
}

// A point that was clicked stays in the panel while the pointer goes there to play it.
function keep(index) {
  kept = !(kept && now === index);
  now = kept ? index : -1;
  tell(index);
  mapped();
}

function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function table(name, rows) {
  const cell = (value) => '"' + String(value).replaceAll('"', '""') + '"';
  save(name, rows.map((r) => r.map(cell).join(",")).join("\r\n"), "text/csv");
}

function csv(key) {
  const figure = drawn.figures.find((f) => f.key === key);
  table(key + ".csv", [figure.columns, ...figure.rows]);
}

function places() {
  const columns = drawn.map.columns;
  table("map.csv", [["id", "modality", "label", "x", "y", ...columns],
    ...points.map((p) => [p.id, p.modality, p.label, p.x, p.y, ...columns.map((c) => p.by[c])])]);
}

figures();
mapped();
document.getElementById("plot-map").on("plotly_hover", (event) => {
  const index = event.points[0].customdata;
  if (index !== undefined && !kept) tell(index);
});
document.getElementById("plot-map").on("plotly_click", (event) => {
  const index = event.points[0].customdata;
  if (index !== undefined) keep(index);
});
document.getElementById("places").addEventListener("click", places);
document.getElementById("colour").addEventListener("change", mapped);
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("previous").addEventListener("click", () => step(-1));
for (const button of document.querySelectorAll("[data-csv]")) {
  button.addEventListener("click", () => csv(button.dataset.csv));
}
document.getElementById("facts").addEventListener("click", () =>
  save("report.json", document.getElementById("all").textContent, "application/json"));
dark.addEventListener("change", () => { figures(); mapped(); });
addEventListener("beforeprint", () => {
  for (const d of document.querySelectorAll("details")) d.open = true;
  printing = true;
  figures();
  mapped();
});
addEventListener("afterprint", () => { printing = false; figures(); mapped(); });
