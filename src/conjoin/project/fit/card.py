"""Write the card of a fit beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.project.evaluation.evaluate import versions
from conjoin.project.fit.multi_part import EACH
from conjoin.project.workspace import Workspace
from conjoin.report.cards.fit import card_facts, card_markdown
from conjoin.retrieval.calibration.policy import Rules
from conjoin.selection.folds import Folds
from conjoin.spaces import Pairs, Space
from conjoin.storage.files import FORMAT, atomic, read_json, write_json
from conjoin.storage.renamed import current

#: Names of the two forms of a card in a fit's folder.
PAGE, FACTS = "card.md", "card.json"


def write_card(
    ws: Workspace,
    folder: Path,
    binding: Binding,
    rules: Rules,
    spaces: Mapping[str, Space],
    train: Pairs,
) -> dict[str, Any]:
    """Write ``card.md`` and ``card.json`` into a fit's folder; gives back the facts."""
    held = ws.split.is_test(ws.items.ids)
    data = {
        "items": len(ws.items.ids), "held_out": int(np.sum(held)),
        "groups": len(set(map(str, ws.items.groups(ws.config)))),
        "modalities": [
            {
                "name": name, "encoder": ws.modality(name).uri, "rows": len(space),
                "dim": space.dim, "frame": space.frame.id, **_parts(ws, name),
            }
            for name, space in spaces.items()
        ],
        "pairs": {"–".join(edge): len(train.between(*edge)[0]) for edge in train.edges()},
    }  # fmt: skip
    made = {
        "version": FORMAT, "frame": binding.frame.id, "seed": binding.seed,
        "corrections": {f"{q} → {t}": rule.name for (q, t), rule in rules.correctors.items()},
        "scores": rules.to_json(),
        "versions": versions(),
    }  # fmt: skip
    trained = {name: spaces[name] for name in train.names}
    chance = Folds(trained, train, binding.seed).chance()
    facts = card_facts(binding.choice, chance, data, made)
    write_json(folder / FACTS, facts)
    with atomic(folder / PAGE) as file:
        file.write(card_markdown(facts).encode())
    return facts


def read_card(folder: Path) -> dict[str, Any]:
    """The facts of a fit's card, its methods under the names they have now."""
    raw = dict(read_json(folder / FACTS))
    return {
        **raw, "method": current(raw["method"]),
        "compared": [{**one, "method": current(one["method"])} for one in raw["compared"]],
        "skipped": {current(name): why for name, why in raw["skipped"].items()},
    }  # fmt: skip


def _parts(ws: Workspace, name: str) -> dict[str, str]:
    rule = ws.modality(name).parts
    return {} if rule == EACH else {"parts": rule}
