// Calls of the service; a refusal becomes a Refused with words a person can read.

const KEY = "conjoin-token";

export class Refused extends Error {
  constructor(title, detail, status) {
    super(detail);
    this.title = title;
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (word) => sessionStorage.setItem(KEY, word),
  drop: () => sessionStorage.removeItem(KEY),
};

function headers(more = {}) {
  const word = token.get();
  return word ? { ...more, Authorization: `Bearer ${word}` } : more;
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer", "Is it still running? Try again in a moment.", 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(
    problem.title || `The server answered ${answer.status}`,
    problem.detail || "Try again in a moment.", answer.status,
  );
}

const json = async (path, options) => (await call(path, options)).json();

export const info = () => json("/info");
export const item = (id) => json(`/items/${encodeURIComponent(id)}`);
export const samples = (seed) => json(`/items?sample=12&seed=${seed}`);

export const explain = (body) => json("/explain", {
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
});

export function search(body, file, signal) {
  if (!file) {
    return json("/search", {
      method: "POST", signal, body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
  }
  const form = new FormData();
  form.append("request", JSON.stringify(body));
  form.append("file", file);
  return json("/search/upload", { method: "POST", signal, body: form });
}

// A question: `heard` is told of each sentence; the answer is the last line.
export async function ask(body, signal, heard) {
  const answer = await call("/ask", {
    method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ;) {
    const { value, done } = await reader.read();
    const lines = (held + (value || "")).split("\n");
    held = done ? "" : lines.pop();
    for (const line of lines.filter(Boolean)) {
      const told = JSON.parse(line);
      if (told.sentence) heard(told.sentence);
      if (told.answer) return told.answer;
      if (told.problem) throw new Refused(told.problem.title, told.problem.detail, told.problem.status);
    }
    if (done) throw new Refused("The answer broke off", "Ask again in a moment.", 0);
  }
}

// Media need the token too, which an address cannot carry: then they come as blobs.
const watcher = new IntersectionObserver((seen) => {
  for (const entry of seen.filter((one) => one.isIntersecting)) {
    watcher.unobserve(entry.target);
    call(entry.target.dataset.from)
      .then((answer) => answer.blob())
      .then((blob) => { entry.target.src = URL.createObjectURL(blob); })
      .catch(() => entry.target.dispatchEvent(new Event("error")));
  }
}, { rootMargin: "200px" });

export function fill(element, path) {
  if (!token.get()) {
    element.src = path;
    return;
  }
  element.dataset.from = path;
  watcher.observe(element);
}
