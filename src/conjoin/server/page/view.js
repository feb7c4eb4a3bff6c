// Elements of the page; text always goes in as text.

import { fill, item } from "./api.js";

export function el(tag, props = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...inside.filter((one) => one !== null && one !== undefined));
  return made;
}

const WEIGHTS = [
  [2, "much"], [1, "yes"], [0.5, "a little"], [-0.5, "rather not"], [-1, "not"],
];

export const MEANINGS = {
  cosine: "nearness of the vectors (the same: 1)",
  dot: "nearness of the vectors",
  csls: "nearness, less what is near to everything",
  rrf: "places in the lists, added up",
};

const WHAT = { relevant: "relevant", partner: "the partner" };

export function likely(probability, meaning) {
  const percent = 100 * probability, what = WHAT[meaning] || WHAT.partner;
  if (percent > 99.5) return `over 99 % likely ${what}`;
  return percent < 1 ? `under 1 % likely ${what}` : `${Math.round(percent)} % likely ${what}`;
}

export function clock(seconds) {
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const figure = (value) => (typeof value === "number" ? value.toFixed(3) : String(value));

export function media(kind, path, label, text) {
  if (kind === "image") {
    const shown = el("img", { alt: label, loading: "lazy", decoding: "async" });
    shown.addEventListener("error", () => shown.replaceWith(el("p", { class: "words" }, "This picture cannot be shown.")));
    fill(shown, path);
    return shown;
  }
  if (kind === "audio") {
    const shown = el("audio", { controls: true, preload: "none", "aria-label": `Sound: ${label}` });
    fill(shown, path);
    return shown;
  }
  return el("p", { class: "words", dir: "auto" }, text || label);
}

export function card(hit, act) {
  const why = el("details", {}, el("summary", { "aria-label": `Why this hit: ${hit.label}` }, "Why this hit"));
  why.addEventListener("toggle", () => why.open && explain(why, hit, act), { once: true });
  const said = hit.probability === null || hit.probability === undefined
    ? null : el("span", { class: "likely", "aria-hidden": "true" }, bar(hit.probability));
  const place = typeof hit.time === "number" ? `${hit.modality} · at ${clock(hit.time)}` : hit.modality;
  const about = hit.probability === null || hit.probability === undefined
    ? `${hit.rank} · ${place}` : `${hit.rank} · ${place} · ${likely(hit.probability, hit.meaning)}`;
  return el("li", { class: "card", "data-id": hit.id, "data-modality": hit.modality },
    el("div", { class: "media" }, media(hit.kind, hit.media, hit.label, hit.text)),
    el("h3", { dir: "auto" }, hit.label),
    el("p", { class: "what" }, about), said,
    el("div", { class: "acts" },
      el("button", { type: "button", class: "like", "aria-label": `More like this: ${hit.label}`, onclick: () => act("more", hit) }, "More like this"),
      el("button", { type: "button", class: "unlike", "aria-label": `Less like this: ${hit.label}`, onclick: () => act("less", hit) }, "Less like this")),
    why);
}

function bar(probability) {
  const inner = el("span");
  inner.style.width = `${Math.max(2, Math.round(100 * probability))}%`;
  return inner;
}

function rows(pairs) {
  const list = el("dl");
  for (const [name, value] of pairs) list.append(el("dt", {}, name), el("dd", { dir: "auto" }, value));
  return list;
}

async function explain(where, hit, act) {
  where.append(rows(Object.entries(hit.scores).map(([name, value]) => [MEANINGS[name] || name, figure(value)])));
  if (typeof hit.probability !== "number") {
    where.append(el("p", { class: "what" }, `How likely it answers was not measured for ${hit.modality} here.`));
  }
  try {
    const [found, reasons] = await Promise.all([item(hit.id), act("why", hit)]);
    if (reasons) behind(where, reasons);
    const meta = Object.entries(found.meta).filter(([, value]) => value !== null && value !== "");
    where.append(el("h4", {}, "About it"), rows(meta.slice(0, 8)));
  } catch (error) {
    where.append(el("p", {}, `More cannot be said: ${error.message}`));
  }
}

function behind(where, reasons) {
  if (reasons.shares.length > 1) {
    where.append(el("h4", {}, "Its score is made of"), rows(reasons.shares.map((one) => [one.name, figure(one.value)])));
  }
  if (!reasons.pairs.length) return;
  const named = reasons.pairs.map((pair) => el("li", { dir: "auto" }, [...new Set(Object.values(pair.labels))].join(" – ")));
  where.append(el("h4", {}, "Training pairs behind it"), el("ul", {}, ...named));
}

export function list(title, hits, sentence, act) {
  const box = el("section", { "aria-label": title });
  box.append(el("h2", { tabindex: "-1" }, `${title} (${hits.length})`));
  if (sentence) {
    box.append(el("p", { class: "nothing" }, sentence.charAt(0).toUpperCase() + sentence.slice(1) + "."));
  }
  if (!hits.length) {
    box.append(el("p", { class: "nothing" }, "Nothing was found. A filter may leave nothing over."));
  } else {
    box.append(el("ol", { class: "grid" }, ...hits.map((hit) => card(hit, act))));
  }
  return box;
}

export function term(part, change) {
  const name = part.kind === "item" ? `like ${part.label || part.value}` : part.label || part.value;
  const choices = WEIGHTS.some(([weight]) => weight === part.weight)
    ? WEIGHTS : [[part.weight, `× ${part.weight}`], ...WEIGHTS];
  const weight = el("select", { "aria-label": `How much: ${name}`, onchange: (event) => change(Number(event.target.value)) },
    ...choices.map(([value, words]) => el("option", { value, selected: value === part.weight }, words)));
  const seen = part.url && part.image ? el("img", { src: part.url, alt: "" }) : null;
  const heard = part.url && !part.image ? el("audio", { src: part.url, controls: true, "aria-label": `Your sound: ${name}` }) : null;
  return el("li", { class: part.weight < 0 ? "not" : "" }, seen,
    el("span", { class: "what", dir: "auto", title: name }, name), heard, weight,
    el("button", { type: "button", "aria-label": `Remove ${name}`, onclick: () => change(0) }, "Remove"));
}

export function sample(found, act) {
  const names = Object.entries(found.modalities);
  const [modality, held] = names.find(([, one]) => one.kind === "image") || names[0] || [];
  if (!modality) return null;
  const shown = held.kind === "image" ? media("image", `${held.media}?size=128`, "", "") : null;
  return el("li", {}, el("button", {
    type: "button", class: "card", "aria-label": `More like ${found.label}`,
    onclick: () => act("more", { id: found.id, label: found.label, modality }),
  }, shown, el("span", { dir: "auto" }, found.label)));
}

export function options(element, names) {
  element.replaceChildren(...names.map(([value, words]) => el("option", { value }, words)));
}
