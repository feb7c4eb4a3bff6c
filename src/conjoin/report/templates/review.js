"use strict";
const rows = Array.from(document.querySelectorAll("article[data-lines]"));
const said = document.getElementById("said");
const keys = { k: "keep", d: "drop", f: "fix" };

function choice(row) {
  const picked = row.querySelector("input[type=radio]:checked");
  return picked ? picked.value : "";
}

function show(row) {
  const value = choice(row);
  row.dataset.decision = value;
  row.querySelector(".state").textContent = value ? "decided: " + value : "not decided";
  const partner = row.querySelector(".partner");
  if (partner) partner.hidden = value !== "fix";
}

function tell() {
  const done = rows.filter((row) => choice(row)).length;
  said.textContent = done + " of " + rows.length + " decided";
  document.getElementById("download").disabled = done === 0;
}

function decide(row, value) {
  const button = row.querySelector('input[value="' + value + '"]');
  if (!button || button.disabled) return;
  button.checked = true;
  show(row);
  tell();
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

function table() {
  const names = ["id", "modality", "kind", "decision", "note", "other", "fix"];
  const out = [names.join(",")];
  for (const row of rows) {
    const value = choice(row);
    if (!value) continue;
    const partner = row.querySelector(".partner input");
    const note = row.querySelector(".note").value.trim();
    for (const line of JSON.parse(row.dataset.lines)) {
      const full = Object.assign({ note: note, fix: "", other: "" }, line, { decision: value });
      if (value === "fix" && partner) full.fix = partner.value.trim();
      out.push(names.map((name) => quoted(String(full[name] || ""))).join(","));
    }
  }
  return out.join("\r\n") + "\r\n";
}

document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv;charset=utf-8" }));
  link.download = "decisions.csv";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

for (const row of rows) {
  row.addEventListener("change", () => { show(row); tell(); });
  show(row);
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const typing = target.matches("input[type=text], textarea, audio");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const row = target.closest("article[data-lines]");
  const key = event.key.toLowerCase();
  if (!row) {
    // From anywhere else the arrow enters the list, at what is not decided yet.
    const first = rows.find((one) => !choice(one)) || rows[0];
    if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
    return;
  }
  if (key in keys) {
    event.preventDefault();
    decide(row, keys[key]);
  } else if (target === row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const next = rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }
});
tell();
