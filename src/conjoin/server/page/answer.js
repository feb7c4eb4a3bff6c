// Questions to documents: sentences as they come, then quotes with their places; follow-ups keep
// what was asked before.

import * as api from "./api.js";
import { el, media } from "./view.js";

const $ = (id) => document.getElementById(id);

let before = [];
let running = null;

export function forget() {
  running?.abort();
  before = [];
  $("answer").hidden = true;
  $("again").hidden = true;
}

const place = (one) => [one.page ? `${one.document}, page ${one.page}` : one.document, ...one.path].join(" › ");

function sentence(said) {
  if (said.stands) return el("p", { class: "said", dir: "auto" }, `${said.sentence} [${said.passage + 1}]`);
  const differs = [["numbers", said.numbers], ["negations", said.negations], ["lacks", said.dropped]]
    .filter(([, found]) => found.length).map(([name, found]) => `${name} ${found.join(", ")}`);
  const why = differs.length ? differs : [`words ${said.words.slice(0, 6).join(", ")}`];
  return el("p", { class: "said", dir: "auto" }, el("del", {}, said.sentence), ` Not borne out: ${why.join("; ")}.`);
}

function quote(one, found) {
  const shown = one.media ? media("image", one.media, `Picture of ${one.path.at(-1) || one.document}`, "") : null;
  const whole = el("details", {}, el("summary", { "aria-label": `The passage in full: ${place(one)}` }, "The passage in full"),
    el("p", { class: "words", dir: "auto" }, found.evidence[one.passage].text));
  return el("li", { class: "quote" }, el("blockquote", { dir: "auto" }, one.text),
    el("p", { class: "what", dir: "auto" }, `[${one.passage + 1}] ${place(one)}`), shown, whole);
}

function finish(found) {
  const box = $("answer-text");
  if (found.said) box.append(el("p", { class: "nothing" }, found.said));
  if (found.quotes.length) {
    box.append(el("ol", { class: "quotes", "aria-label": "Quotes" }, ...found.quotes.map((one) => quote(one, found))));
  } else if (found.cause && found.cause !== "unlike") {
    box.append(el("p", { class: "what" }, "Nearest:"),
      el("ul", {}, ...found.evidence.slice(0, 3).map((one) => el("li", { dir: "auto" }, place(one)))));
  }
  if (found.notes.length) box.append(el("p", { class: "hint" }, `${found.notes.join("; ")}.`));
}

// Ask; tells what to say when it is done.
export async function ask(question) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  $("answer").hidden = false;
  $("answer").setAttribute("aria-busy", "true");
  $("answer-title").textContent = question;
  $("answer-text").replaceChildren();
  try {
    const found = await api.ask({ question, history: before.slice(-20), stream: true }, mine.signal,
      (said) => $("answer-text").append(sentence(said)));
    finish(found);
    if (!found.refused) before = [...before, question];
    $("again").hidden = !before.length;
    $("answer-title").focus();
    const count = found.quotes.length;
    return found.said || `Answered with ${count} ${count === 1 ? "quote" : "quotes"}.`;
  } finally {
    if (running === mine) $("answer").removeAttribute("aria-busy");
  }
}
