"""What changing items does to an index: four rates, on a copy that is thrown away."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.open import kind_of
from conjoin.errors import ConjoinError, StateError
from conjoin.evaluation.formats.base import Cells
from conjoin.evaluation.placing import Placed
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.transfer import EditRates
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import index_folder, is_store
from conjoin.project.workspace import Workspace
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.store import IndexStore
from conjoin.spaces import Space
from conjoin.storage.digest import stable_hash

#: Queries that edits should leave alone.
PROBES = 256


@dataclass(frozen=True)
class Edits:
    """Rates of edits of one modality of an index.

    Parameters
    ----------
    rates : reliability, generality, locality and portability.
    moved : other queries whose list moved, as ``modality/item (by SCORE)``. A score whose gates
        depend on which rows are nearest to a bank, as ``qb-norm``, may move by a row that comes
        nearer; any other should not.
    """

    modality: str
    items: int
    k: int
    rates: tuple[Measurement, ...]
    moved: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        rates = [one.to_json() for one in self.rates]
        return {"modality": self.modality, "items": self.items, "k": self.k, "rates": rates,
                "moved": list(self.moved)}  # fmt: skip


def check_edits(
    ws: Workspace, modality: str | None = None, *, items: int = 20, k: int = 10, seed: int = 0
) -> Edits:
    """Give some items new texts in a copy of the index in use, and ask it.

    A new text joins those of two other items. ``reliability``: asked by its new text, the item is
    the first hit. ``generality``: so it is by the same words in lower case and in another order.
    ``portability``: asked by either half, it is among the first ``k``. ``locality``: of queries
    that are other items' stored vectors, of every modality, and whose first hit was and is no
    edited item, the first ``k`` apart from edited items are those that they were.

    Raises
    ------
    ConjoinError : no modality reads text, or there are fewer than three items an edit.
    StateError : the index is a snapshot, which holds no versions.
    """
    name = _text_modality(ws, modality)
    folder = index_folder(ws)
    if not is_store(folder):
        raise StateError(str(folder), "is a snapshot without versions",
                         'run: pip install "conjoin[search]", then conjoin fit')  # fmt: skip
    texts = _texts(ws, name)
    rng = np.random.default_rng([seed, stable_hash("edits")])
    order = rng.permutation(sorted(texts)).tolist()
    if items < 1 or len(order) < 3 * items + 2:
        raise ConjoinError("items", f"{items} edits of {len(order)} texts", "give fewer")
    edited, donors = order[:items], order[items : 3 * items]
    halves = {item: (texts[donors[2 * i]], texts[donors[2 * i + 1]])
              for i, item in enumerate(edited)}  # fmt: skip
    binding = current_fit(ws).binding
    place = Placed({name: ws.encoder(name)}, binding)
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / folder.name
        shutil.copytree(folder, copy)
        store = IndexStore(copy)
        before = store.open()
        probes = _probes(before, set(order[: 3 * items]), rng)
        was = _lists(before, probes, name, k, edited)
        fresh = place.space(Cells("text", {item: " ".join(pair) for item, pair in halves.items()}))
        store.add({name: fresh})
        after = store.open()
        now = _lists(after, probes, name, k, edited)
        asked = [query for query in was if was[query][0] == now[query][0] == "own"]
        same = {query: was[query] == now[query] for query in asked}
        results: dict[str, Any] = {
            **_asked(after, place, name, halves, k),
            "locality": [float(one) for one in same.values()],
        }
    scored = {query: before.scored_by((query.partition("/")[0], name)) for query in same}
    moved = tuple(f"{query} (by {scored[query]})" for query, held in same.items() if not held)
    return Edits(name, items, k, EditRates()(results), moved)


def _text_modality(ws: Workspace, name: str | None) -> str:
    known = [each.name for each in ws.modalities if kind_of(each.uri) == "text"]
    bound = [each for each in known if each in current_fit(ws).binding.maps]
    if name is None and bound:
        return bound[0]
    if name in bound:
        return str(name)
    raise ConjoinError("modality", f"{name or 'none'} reads no text here",
                       f"name one of {', '.join(bound) or 'those that do'}")  # fmt: skip


def _texts(ws: Workspace, name: str) -> dict[str, str]:
    """The first text of each item."""
    found: dict[str, str] = {}
    for key, cell in ws.cells(name, "text"):
        if isinstance(cell, str) and cell.strip():
            found.setdefault(str(key.id), cell)
    return found


def _asked(
    index: Index, place: Placed, name: str, halves: Mapping[str, tuple[str, str]], k: int
) -> dict[str, list[float]]:
    """Whether each edited item is found by its new text, by rephrasings and by each half."""

    def found(asked: Mapping[str, str], depth: int) -> list[float]:
        space = place.space(Cells("text", dict(asked)))
        hits = index.search_many(space, name, into=(name,), k=depth)
        lists = [[hit.id for hit in one.lists[name]] for one in hits]
        return [float(key.rpartition("#")[0] in got)
                for key, got in zip(asked, lists, strict=True)]  # fmt: skip

    exact = {f"{item}#0": " ".join(pair) for item, pair in halves.items()}
    again = {f"{item}#{i}": text for item, (a, b) in halves.items()
             for i, text in enumerate((f"{a} {b}".lower(), f"{b} {a}"))}  # fmt: skip
    parts = {f"{item}#{i}": text for item, pair in halves.items() for i, text in enumerate(pair)}
    return {"reliability": found(exact, 1), "generality": found(again, 1),
            "portability": found(parts, k)}  # fmt: skip


def _probes(index: Index, gone: set[str], rng: np.random.Generator) -> dict[str, Space]:
    """Stored rows of every modality, of items that no edit concerns."""
    found = {}
    for name, space in index.spaces.items():
        rows = np.flatnonzero([str(item) not in gone for item in space.ids])
        chosen = np.sort(rng.permutation(rows)[: PROBES // len(index.spaces)])
        found[name] = space.take(chosen)
    return found


def _lists(
    index: Index, probes: Mapping[str, Space], target: str, k: int, edited: Sequence[str]
) -> dict[str, list[str]]:
    """By query, whose item the first hit is, ``edited`` or ``own``, then hits not edited."""
    lists, out = {}, set(edited)
    for source, space in probes.items():
        deep = min(k + len(edited), len(index.spaces[target]))
        for item, hits in zip(space.ids, index.search_many(space, source, into=(target,), k=deep),
                              strict=True):  # fmt: skip
            found = [hit.id for hit in hits.lists[target]]
            kept = [one for one in found if one not in out]
            first = "edited" if found[:1] != kept[:1] else "own"
            lists[f"{source}/{item}"] = [first, *kept[:k]]
    return lists
