// What is asked, and its form in the address, so that a link finds the same again.
// A term is {kind: "text" | "item" | "file", value, weight, source?, label?, url?}.

export const VIEWS = ["mixed", "lists"];

export function empty() {
  return { terms: [], into: [], where: "", k: 24, view: "mixed" };
}

export function toAddress(state) {
  const out = new URLSearchParams();
  const kept = state.terms.filter((term) => term.kind !== "file");
  if (kept.length === 1 && kept[0].kind === "text" && kept[0].weight === 1) {
    out.set("q", kept[0].value);
  } else {
    for (const term of kept) {
      const kind = term.source ? `${term.kind}@${term.source}` : term.kind;
      out.append("t", `${term.weight}:${kind}:${term.value}`);
    }
  }
  for (const name of state.into) out.append("into", name);
  if (state.where) out.set("where", state.where);
  if (state.k !== 24) out.set("k", String(state.k));
  if (state.view !== "mixed") out.set("view", state.view);
  const text = out.toString();
  return text ? `/?${text}` : "/";
}

export function fromAddress(query) {
  const given = new URLSearchParams(query);
  const state = empty();
  if (given.get("q")?.trim()) {
    state.terms.push({ kind: "text", value: given.get("q"), weight: 1 });
  }
  for (const text of given.getAll("t")) {
    const found = /^(-?[\d.]+):(text|item)(?:@([^:]*))?:([^]+)$/.exec(text);
    const weight = found ? Number(found[1]) : 0;
    if (!found || !Number.isFinite(weight) || weight === 0) continue;
    state.terms.push({ kind: found[2], value: found[4], weight, source: found[3] || undefined });
  }
  state.into = given.getAll("into");
  state.where = given.get("where") || "";
  const k = Number(given.get("k"));
  if (Number.isInteger(k) && k > 0) state.k = k;
  if (VIEWS.includes(given.get("view"))) state.view = given.get("view");
  return state;
}

// The body of a search, and the file that goes with it.
export function toBody(state) {
  const file = state.terms.find((term) => term.kind === "file");
  const others = state.terms.filter((term) => term.kind !== "file");
  const body = { k: state.k };
  if (state.into.length) body.into = state.into;
  if (state.where.trim()) body.where = state.where.trim();
  const items = others.filter((term) => term.kind === "item").map((term) => term.value);
  if (items.length) body.exclude = items;
  if (others.length) {
    body.terms = others.map((term) => {
      const part = { [term.kind]: term.value, weight: term.weight };
      return term.source ? { ...part, source: term.source } : part;
    });
  }
  if (file) body.weight = file.weight;
  return [body, file?.file];
}

export function condition(column, operator, value) {
  const plain = (text) => /^[\w.-]+$/.test(text);
  const name = plain(column) ? column : `\`${column.replaceAll("`", "``")}\``;
  return `${name}${operator}${plain(value) ? value : `'${value.replaceAll("'", "''")}'`}`;
}
