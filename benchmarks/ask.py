"""Questions put to two manuals of installed Debian documentation, and lists minted from them.

Needs the packages gnuplot-doc and sqlite3-doc and, for vectors, a fitted workspace:

    conjoin read gnuplot.pdf -o gnuplot/items.parquet; conjoin init, embed, fit
    python benchmarks/ask.py gnuplot=gnuplot sqlite=sqlite -o benchmarks/ask.json

Prints and writes: right page among quotes, answered and refused of the hand-written questions by
kind; on minted lists, at 95 % of answerable kept on other chapters, how many off-topic and
answer-removed ones each gate refuses, with bootstrap intervals.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from conjoin.answering.refusal import Gates, list_features
from conjoin.answering.words import mixed
from conjoin.metrics.outcomes.answers import Answers, Refusal, RiskCoverage
from conjoin.project.answering.ask import Documents
from conjoin.project.workspace import Workspace

HERE = Path(__file__).parent
QUESTIONS = json.loads((HERE / "ask_questions.json").read_text())


def right(answer, wanted, name: str) -> bool:
    """Whether a quoted passage stands where one of the wanted ones does."""
    for quote in answer.quotes:
        passage = answer.nearest[quote.passage]
        places = passage.path if name == "gnuplot" else (passage.document,)
        if any(str(place).casefold() == one.casefold() for place in places for one in wanted):
            return True
    return False


def by_hand(docs: Documents, name: str) -> dict:
    """The hand-written questions."""
    rows, times = [], []
    for entry in QUESTIONS[name]:
        begun = time.perf_counter()
        found = docs.ask(entry["ask"])
        times.append(time.perf_counter() - begun)
        rows.append({
            "ask": entry["ask"], "kind": entry.get("kind", "answerable"), "cause": found.cause,
            "right": right(found, entry["where"], name) if "where" in entry else None,
            "quote": [" ".join(q.text.split())[:90] for q in found.quotes],
        })  # fmt: skip
    kinds = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        kinds[kind] = {"n": len(own), "refused": sum(bool(row["cause"]) for row in own),
                       "right": sum(bool(row["right"]) for row in own)}  # fmt: skip
    return {"kinds": kinds, "measures": measures(rows, docs, name), "first_s": round(times[0], 3),
            "later_s": round(float(np.median(times[1:])), 3), "rows": rows}  # fmt: skip


def measures(rows: list, docs: Documents, name: str) -> dict:
    """Pages, citations and refusals of the hand-written questions."""
    asked = QUESTIONS[name]
    held = {key: [] for key in Answers.example}
    for row, entry in zip(rows, asked, strict=True):
        found = docs.ask(entry["ask"])
        marks = [right(replace(found, quotes=(one,)), entry.get("where", ()), name)
                 for one in found.quotes]  # fmt: skip
        held["answerable"].append(float("where" in entry))
        held["refused"].append(float(bool(row["cause"])))
        held["found"].append(float(bool(row["right"])))
        held["correct"].append(float(np.mean(marks)) if marks and not row["cause"] else 0.0)
    return {one.name: round(one.value, 3) for one in Answers()(held)}


def off_topic(docs: Documents, count: int = 100) -> np.ndarray:
    """Features of emoji labels asked of a manual."""
    import pyarrow.parquet as pq

    import conjoin.items as room

    table = next((Path(room.__file__).parent / "sample").glob("*.parquet"), None)
    if table is None:
        return np.empty((0, 6))
    names = pq.read_table(table)["label"].to_pylist()
    said = [name for name in names if name and len(name.split()) > 1][:count]
    made = []
    for one in said:
        covered, cosine = docs.bodies.covered(one), docs.cosines(one)
        made.append(list_features(mixed([docs.bodies.scores(one), cosine]), covered, cosine))
    return np.array(made)


def minted(docs: Documents, strange: np.ndarray) -> dict:
    """Gates fitted on half of the lists and asked the other half, both ways."""
    answered, removed = docs.minted()
    half = np.arange(len(answered)) % 2 == 0
    kept, gone, apart, sure = [], [], [], [[], []]
    for fold in (half, ~half):
        gates = Gates.fit(answered[fold], removed[fold])
        kept += [not gates.cause(one) for one in answered[~fold]]
        gone += [bool(gates.cause(one)) for one in removed[~fold]]
        apart += [bool(gates.cause(one)) for one in strange]
        for place, own in enumerate((answered, removed)):
            sure[place] += (1 / (1 + np.exp(-gates.scores(own[~fold])[1]))).tolist()
    able = [1.0] * len(sure[0]) + [0.0] * len(sure[1])
    scored = {"answerable": able, "right": able, "confidence": [*sure[0], *sure[1]]}
    told = {one.name: round(one.value, 3) for metric in (Refusal(), RiskCoverage(0.4))
            for one in metric({key: scored[key] for key in metric.example})}  # fmt: skip
    return {"lists": len(answered), "answerable kept": interval(kept),
            "answer removed refused": interval(gone),
            "off-topic refused": interval(apart), **told}  # fmt: skip


def interval(found) -> list[float]:
    """Share and its 95 % bootstrap interval."""
    values = np.array(found, float)
    if not len(values):
        return []
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    return [round(float(v), 3) for v in (values.mean(), *np.quantile(drawn, [0.025, 0.975]))]


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manuals", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    told = {}
    for one in given.manuals:
        name, _, folder = one.partition("=")
        docs = Documents.open(Workspace(Path(folder), writes=False))
        told[name] = {
            "pieces": len(docs.passages),
            "fitted": docs.session is not None,
            "by hand": by_hand(docs, name),
            "minted": minted(docs, off_topic(docs)),
        }
        print(name, json.dumps({k: v for k, v in told[name]["by hand"].items() if k != "rows"}))
        print(name, json.dumps(told[name]["minted"]))
    if given.out:
        given.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
