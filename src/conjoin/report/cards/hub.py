"""A model card in the Hugging Face Hub's form: YAML in front, the card of the fit behind."""

import json
from collections.abc import Mapping
from typing import Any

from conjoin.report.cards.fit import card_markdown

Facts = Mapping[str, Any]


def hub_card(facts: Facts) -> str:
    """The facts of a report as a README for the Hub.

    The metadata are those of the Hub's model cards: ``library_name``, ``tags`` and a
    ``model-index`` with recall@10 of every direction; no licence is guessed.
    """
    return f"---\n{_front(facts)}---\n\n{card_markdown(dict(facts['card']))}{_measured(facts)}"


def _front(facts: Facts) -> str:
    lines = ["library_name: conjoin", "tags:", "- cross-modal", "- embeddings", "- retrieval"]
    rows = [
        r for r in (facts.get("evaluation") or {}).get("results", ())
        if r["chosen"] and r["metric"] == "recall@10"
    ]  # fmt: skip
    if rows:
        lines += ["model-index:", f"- name: {_quoted(facts['title'])}", "  results:"]
    for row in rows:
        way = f"{row['query']} to {row['target']}"
        lines += [
            "  - task:", "      type: retrieval", f"      name: {_quoted(way)}",
            "    dataset:", f"      name: {_quoted(facts['title'])}", "      type: private",
            "    metrics:", "    - type: recall@10", f"      value: {row['value']:.4f}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    """A JSON string is a YAML string once what YAML does not print is written out: no name of a
    workspace can break the front matter.
    """
    said = json.dumps(str(value), ensure_ascii=False)
    return "".join(
        char if char.isprintable() or char == " " else f"\\u{ord(char):04x}"
        if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
        for char in said
    )  # fmt: skip


def _measured(facts: Facts) -> str:
    rows = [
        r for r in (facts.get("evaluation") or {}).get("results", ()) if r["metric"] == "recall@10"
    ]
    if not rows:
        return ""
    listed = ["", "## On held-out items", "", "| direction | method | recall@10 |", "|---|---|---|"]
    for row in rows:
        ends = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
        name = f"**{row['method']}**" if row["chosen"] else row["method"]
        listed.append(f"| {row['query']} → {row['target']} | {name} | {row['value']:.3f}{ends} |")
    return "\n".join(listed) + "\n"
