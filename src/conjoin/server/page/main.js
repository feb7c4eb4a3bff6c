// The page: reads the address, asks, shows, and writes the address.

import * as answers from "./answer.js";
import * as api from "./api.js";
import { canRecord, record } from "./sound.js";
import { condition, empty, fromAddress, toAddress, toBody } from "./state.js";
import { el, list, options, sample, term } from "./view.js";

const $ = (id) => document.getElementById(id);
const RECORD_SECONDS = 15;

let state = empty();
let known = null;
let asked = null;
let running = null;

// Words about what happens

function say(text) {
  $("status").textContent = text;
}

function warn(error) {
  const box = $("alert");
  box.replaceChildren();
  if (!error) return;
  box.append(el("p", {}, el("strong", {}, error.title || "This did not work")), el("p", {}, error.message));
  say("");
}

function locked() {
  $("key").hidden = false;
  $("token").focus();
}

// Asking

async function run({ push = true, focus = false } = {}) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  $("answer").hidden = true;
  if (push) history.pushState(null, "", toAddress(state));
  draw();
  warn(null);
  document.title = state.terms.length ? `${state.terms.map((one) => one.label || one.value).join(" + ")} — conjoin` : "conjoin";
  if (!state.terms.length) {
    asked = null;
    $("results").hidden = true;
    say("");
    start();
    return;
  }
  const slow = setTimeout(() => say("Searching…"), 250);
  $("results").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const [body, file] = toBody(state);
    asked = await api.search(body, file, mine.signal);
    show(Math.round(performance.now() - began));
    if (focus) $("lists").querySelector("h2")?.focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    asked = null;
    $("results").hidden = true;
    warn(error);
    if (error.status === 401) locked();
  } finally {
    clearTimeout(slow);
    if (running === mine) $("results").removeAttribute("aria-busy");
  }
}

function show(took) {
  $("start").hidden = true;
  $("results").hidden = false;
  const names = Object.keys(asked.lists);
  const single = names.filter((name) => name !== "mixed");
  const mixed = names.includes("mixed") && state.view === "mixed";
  $("view").hidden = !names.includes("mixed");
  const shown = mixed ? ["mixed"] : single;
  const silent = single.filter((name) => asked.nothing[name]);
  const none = nothing(single, silent);
  $("lists").replaceChildren(...shown.map((name) => {
    const sentence = name === "mixed" ? none : asked.nothing[name];
    return list(name === "mixed" ? "All results" : name, asked.lists[name], sentence, act);
  }));
  const count = shown.reduce((sum, name) => sum + asked.lists[name].length, 0);
  say(`${count} ${count === 1 ? "result" : "results"} for ${asked.query.shown}${took === undefined ? "" : `, in ${took} ms`}.${none ? ` ${none}.` : ""}`);
}

// What a list of everything says where some kinds hold nothing that is likely to match.
function nothing(single, silent) {
  if (!silent.length) return "";
  if (silent.length === single.length) return "Nothing relevant was found; these are the nearest";
  const mute = single.filter((name) => asked.lists[name].length && asked.lists[name].every((hit) => typeof hit.probability !== "number"));
  const also = mute.length && mute.length + silent.length === single.length ? `; of ${mute.join(", ")} it cannot be told` : "";
  return `Nothing relevant among ${silent.join(", ")}${also}`;
}

// Reasons are known for one thing asked in words or by an item.
function why(hit) {
  const [one, ...more] = state.terms;
  if (more.length || !one || one.kind === "file" || one.weight < 0) return null;
  const part = one.source ? { [one.kind]: one.value, source: one.source } : { [one.kind]: one.value };
  return api.explain({ ...part, hit: hit.id, into: hit.modality, pairs: 4 }).catch(() => null);
}

function act(what, hit) {
  if (what === "why") return why(hit);
  const one = { kind: "item", value: hit.id, weight: what === "more" ? 1 : -0.5, source: hit.modality, label: hit.label };
  if (what === "more") {
    $("words").value = "";
    state = { ...state, terms: [one] };
  } else {
    state = { ...state, terms: [...state.terms.filter((t) => t.value !== hit.id), one] };
    $("words").value = "";
  }
  return run({ focus: true });
}

// The parts of the query

function draw() {
  const words = state.terms.length === 1 && state.terms[0].kind === "text" && state.terms[0].weight === 1;
  $("terms").hidden = words || !state.terms.length;
  $("also").hidden = !state.terms.length;
  $("terms").replaceChildren(...state.terms.map((one, place) => term(one, (weight) => {
    state.terms = weight === 0
      ? state.terms.filter((_, at) => at !== place)
      : state.terms.map((old, at) => (at === place ? { ...old, weight } : old));
    run();
    (weight === 0 ? $("words") : $("terms").querySelectorAll("select")[place])?.focus();
  })));
  for (const box of $("into").querySelectorAll("input")) {
    box.checked = !state.into.length || state.into.includes(box.value);
  }
  $("where").value = state.where;
  if (![...$("k").options].some((one) => Number(one.value) === state.k)) {
    $("k").append(el("option", {}, String(state.k)));
  }
  $("k").value = String(state.k);
  document.querySelector(`input[name="view"][value="${state.view}"]`).checked = true;
  if (state.where || state.into.length) $("more").open = true;
}

function withWords(terms) {
  const words = $("words").value.trim();
  return words ? [...terms, { kind: "text", value: words, weight: 1 }] : terms;
}

function withFile(file) {
  const kind = file.type.split("/")[0];
  const most = known?.limits.body_mb ?? 12;
  if (kind !== "image" && kind !== "audio") {
    warn(new api.Refused("This is neither a picture nor a sound", `${file.name} cannot be searched with.`));
    return;
  }
  if (file.size > most * 1e6) {
    warn(new api.Refused("This file is too large", `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; ${most} MB is the most.`));
    return;
  }
  const others = state.terms.filter((one) => one.kind === "item" && one.weight < 0);
  const part = { kind: "file", value: file.name, label: file.name, weight: 1, file, image: kind === "image", url: URL.createObjectURL(file) };
  state = { ...state, terms: [part, ...others] };
  $("words").value = "";
  run({ focus: true });
}

// Where nothing is asked yet

async function start() {
  try {
    const day = Math.floor(Date.now() / 86400000);
    const found = await api.samples(day);
    $("samples").replaceChildren(...found.items.map((one) => sample(one, act)).filter(Boolean));
    $("start").hidden = Boolean(state.terms.length);
  } catch (error) {
    warn(error);
    if (error.status === 401) locked();
  }
}

async function learn() {
  known = await api.info();
  $("question").hidden = !known.answers.documents;
  const names = known.modalities.filter((one) => one.rows);
  $("about").textContent = `${known.items.toLocaleString()} items: ${names.map((one) => one.name).join(", ")}.`;
  $("into").append(...names.map((one) => el("label", {}, el("input", { type: "checkbox", value: one.name, checked: true }), one.name)));
  const columns = [...known.columns].sort((a, b) => Boolean(b.values) - Boolean(a.values));
  options($("column"), columns.map((one) => [one.name, one.name]));
  $("build").hidden = !columns.length;
  $("where").parentElement.hidden = !columns.length;
  const [few] = columns.filter((one) => one.values?.length);
  $("where").placeholder = few ? condition(few.name, "=", String(few.values[0])) : "";
  suggest();
}

function suggest() {
  const column = known.columns.find((one) => one.name === $("column").value);
  options($("values"), (column?.values || []).map((value) => [value, value]));
}

// What a person does

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const again = $("words").value.trim() ? withWords([]) : state.terms;
  state = { ...state, terms: $("terms").hidden ? withWords([]) : again, where: $("where").value };
  if (!state.terms.length) {
    warn(new api.Refused("Nothing to look for", "Write what you are looking for, or choose a picture or a sound."));
    $("words").focus();
    return;
  }
  run();
});

$("question").addEventListener("click", async () => {
  const words = $("words").value.trim();
  warn(null);
  if (!words) {
    warn(new api.Refused("There is no question", "Write what you want to know."));
    $("words").focus();
    return;
  }
  running?.abort();
  $("results").hidden = true;
  $("start").hidden = true;
  say("Reading…");
  try {
    say(await answers.ask(words));
  } catch (error) {
    if (error.name === "AbortError") return;
    $("answer").hidden = true;
    warn(error);
    if (error.status === 401) locked();
  }
});
$("again").addEventListener("click", () => {
  answers.forget();
  $("words").value = "";
  $("words").focus();
  say("A new conversation: what was asked before is forgotten.");
});

$("also").addEventListener("click", () => {
  if (!$("words").value.trim()) {
    warn(new api.Refused("There are no words to add", "Write them first; they are added to what is asked already."));
    $("words").focus();
    return;
  }
  const words = $("words").value.trim();
  const same = state.terms.some((one) => one.kind === "text" && one.value === words);
  state = { ...state, terms: same ? state.terms : withWords(state.terms) };
  $("words").value = "";
  run();
});

$("pick").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files.length) withFile($("file").files[0]);
  $("file").value = "";
});

let recording = null;
$("record").addEventListener("click", async () => {
  const button = $("record");
  if (recording) {
    recording.stop();
    return;
  }
  try {
    recording = await record(RECORD_SECONDS);
    button.textContent = "Stop recording";
    button.setAttribute("aria-pressed", "true");
    say(`Recording, at most ${RECORD_SECONDS} seconds.`);
    withFile(await recording.done);
  } catch {
    warn(new api.Refused("Nothing was recorded", "Allow the microphone for this page, or choose a sound file."));
  } finally {
    recording = null;
    button.textContent = "Record a sound";
    button.setAttribute("aria-pressed", "false");
  }
});

$("into").addEventListener("change", () => {
  const boxes = [...$("into").querySelectorAll("input")];
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  if (!chosen.length) {
    warn(new api.Refused("Nothing is left to find", "Choose at least one of them."));
    return;
  }
  state = { ...state, into: chosen.length === boxes.length ? [] : chosen };
  if (state.terms.length) run();
});

$("column").addEventListener("change", suggest);
$("condition").addEventListener("click", () => {
  const value = $("value").value.trim();
  if (!value) {
    warn(new api.Refused("The condition has no value", "Write or choose one."));
    $("value").focus();
    return;
  }
  const made = condition($("column").value, $("operator").value, value);
  const where = $("where").value.trim();
  state = { ...state, where: where ? `${where} and ${made}` : made };
  $("where").value = state.where;
  $("value").value = "";
  if (state.terms.length) run();
});
$("where").addEventListener("change", () => {
  state = { ...state, where: $("where").value };
  if (state.terms.length) run();
});
$("k").addEventListener("change", () => {
  state = { ...state, k: Number($("k").value) };
  if (state.terms.length) run();
});
$("view").addEventListener("change", (event) => {
  state = { ...state, view: event.target.value };
  history.replaceState(null, "", toAddress(state));
  if (asked) show();
});

$("link").addEventListener("click", async () => {
  const files = state.terms.some((one) => one.kind === "file");
  const left = files ? " It leaves out your file, which stays on this page." : "";
  try {
    await navigator.clipboard.writeText(location.href);
    say(`The link is copied.${left}`);
  } catch {
    say(`The link is in the address bar.${left}`);
  }
});

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  const word = $("token").value.trim();
  if (!word) return;
  api.token.set(word);
  $("token").value = "";
  $("key").hidden = true;
  warn(null);
  begin();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, audio");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("words").focus();
    $("words").select();
    return;
  }
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const here = event.target.closest?.("#lists .card");
  if (!step || !here || typing) return;
  const cards = [...document.querySelectorAll("#lists .card")];
  const next = cards[cards.indexOf(here) + step];
  if (!next) return;
  event.preventDefault();
  next.querySelector(event.target.matches(".unlike") ? ".unlike" : ".like").focus();
});

let over = 0;
const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
addEventListener("dragenter", (event) => {
  if (carries(event) && (over += 1)) $("drop").hidden = false;
});
addEventListener("dragleave", () => {
  over = Math.max(0, over - 1);
  if (!over) $("drop").hidden = true;
});
addEventListener("dragover", (event) => carries(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  over = 0;
  $("drop").hidden = true;
  if (event.dataTransfer.files.length) withFile(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])][0];
  if (file) withFile(file);
});
addEventListener("popstate", () => {
  read();
  run({ push: false });
});

function read() {
  state = fromAddress(location.search);
  const words = state.terms.length === 1 && state.terms[0].kind === "text" ? state.terms[0].value : "";
  $("words").value = words;
}

// Items in a link are named by id; people know them by label.
async function name() {
  await Promise.all(state.terms.filter((one) => one.kind === "item" && !one.label).map(async (one) => {
    const found = await api.item(one.value).catch(() => null);
    if (found) one.label = found.label;
  }));
  draw();
}

async function begin() {
  $("record").hidden = !canRecord();
  read();
  try {
    if (!known) await learn();
  } catch (error) {
    warn(error);
    if (error.status === 401) locked();
    return;
  }
  await run({ push: false });
  name();
}

begin();
