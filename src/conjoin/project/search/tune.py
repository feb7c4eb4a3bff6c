"""``conjoin tune``: weights of a mixture from judged queries, and trained composers."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.items.cells import cell_parts
from conjoin.items.reading.table import read_table
from conjoin.project.fit.stored import Fit, current_fit, stale
from conjoin.project.search.index import open_index
from conjoin.project.search.lexical import open_words, ranking_folder, text_columns, texts_of
from conjoin.project.search.queries import reader_of
from conjoin.project.search.ranking import DEPTH, WORDS, scored_list
from conjoin.project.workspace import Workspace
from conjoin.retrieval.hits import MIXED
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.lexical.bm25 import Lexical
from conjoin.retrieval.queries.composition import edits, save_composed
from conjoin.retrieval.ranking.hybrid import Fusion, Judged, does_fusing_help
from conjoin.selection.folds import Folds
from conjoin.spaces import Space, unit
from conjoin.storage.files import FORMAT, write_json

#: Judged queries at most; a mixture's weights need far fewer.
MOST = 500


def tune_mixer(
    ws: Workspace, mixer: str, queries: Path | None, *, source: str | None, seed: int
) -> Fusion:
    """Judge and tune a mixture of the index in use and its items' words.

    Parameters
    ----------
    queries : a table of queries and the ids that answer them; without one, texts of held-out
        training pairs ask for their partners, their own column and those it repeats left out of
        the words.

    Raises
    ------
    ConjoinError : the file is not such a table, or nothing is left to find by words.
    """
    find("score-fusion", mixer)
    if queries is not None:
        judged, said = _from_file(ws, queries, source), f"{queries.name}"
    else:
        judged, said = _from_pairs(ws, source, seed), "held-out training pairs"
    return does_fusing_help(judged, mixer, source=said, seed=seed)


def keep_fusion(ws: Workspace, found: Fusion) -> Path:
    """Store it beside the index: search uses it where it helps."""
    path = ranking_folder(ws) / "fusion.json"
    write_json(path, {"version": FORMAT, **found.to_json()})
    return path


def read_queries(path: Path) -> dict[str, frozenset[str]]:
    """Right answers by query, from columns ``query`` and ``id``; an id may be a list, a query on
    several lines.

    Raises
    ------
    ConjoinError : a column is missing or a cell is empty.
    """
    table = read_table(path)
    for name in ("query", "id"):
        if name not in table.column_names:
            raise ConjoinError(str(path), f"has no column {name!r}", "give columns query and id")
    found: dict[str, set[str]] = {}
    columns = (table[name].to_pylist() for name in ("query", "id"))
    for line, (query, ids) in enumerate(zip(*columns, strict=True), 1):
        own = {str(item) for item in (ids if isinstance(ids, list) else [ids]) if item is not None}
        if query is None or not str(query).strip() or not own:
            raise ConjoinError(f"{path}, line {line}", "a query or its id is empty", "fill it")
        found.setdefault(str(query), set()).update(own)
    return {query: frozenset(ids) for query, ids in found.items()}


def _from_file(ws: Workspace, path: Path, source: str | None) -> list[Judged]:
    asked = dict(list(read_queries(path).items())[:MOST])
    known = set(map(str, ws.items.ids))
    for query, ids in asked.items():
        if not ids & known:
            raise ConjoinError(str(path), f"{query!r} is answered by no item here", "give its id")
    made, index = current_fit(ws), open_index(ws)
    name, space = encode_texts(ws, made, list(asked), source)
    bound = made.binding.bind(name, space)
    words = open_words(ws)
    return _judged(index, bound, name, list(index.spaces), words, list(asked.items()))


def encode_texts(
    ws: Workspace, made: Fit, texts: Sequence[str], source: str | None
) -> tuple[str, Space]:
    """Texts as a bound modality's encoder sees them, in order.

    Raises
    ------
    ConjoinError : no bound modality reads text, or a text cannot be read.
    """
    name = source or reader_of(ws, made, "text")
    if name not in made.binding.maps:
        raise ConjoinError("--from", f"{name!r} is not bound", "name a bound modality")
    encoder = ws.encoder(name)
    if encoder.kind != "text":
        raise ConjoinError("--from", f"{name!r} reads {encoder.kind}", "name one that reads text")
    if ws.frame(name) != made.binding.maps[name].source:
        raise stale(name)
    found = encode(encoder, list(texts))
    if found.failed:
        place, why = next(iter(found.failed.items()))
        raise ConjoinError(f"query {texts[place]!r}", str(why), "fix it")
    ids = np.array([f"query{at}" for at in range(len(texts))])
    return name, ws.joined(name, Space(ids, found.vectors, encoder.frame))


def _judged(
    index: Index, bound: Space, source: str, targets: Sequence[str], words: Lexical,
    asked: Sequence[tuple[str, frozenset[str]]],
) -> list[Judged]:  # fmt: skip
    found = []
    for hits, (text, ids) in zip(
        index.search_many(bound, source, into=targets, k=DEPTH), asked, strict=True
    ):
        lists = {
            name: scored_list(own, index.scored_by((source, name)), len(own) < DEPTH)
            for name, own in hits.lists.items()
            if name != MIXED
        }
        found.append(Judged({**lists, WORDS: words.search(text)}, ids, ""))
    return found


def _from_pairs(ws: Workspace, source: str | None, seed: int) -> list[Judged]:
    """One fold of the training pairs, under the same method fitted to the other folds."""
    made = current_fit(ws)
    name = source or reader_of(ws, made, "text")
    column = ws.modality(name).column
    spaces = ws.spaces(list(made.binding.maps))
    train, _ = ws.pairs(spaces)
    folds = Folds(spaces, train, seed)
    part = Binding.fit(
        {key: spaces[key] for key in train.names}, folds.train(0),
        method=made.binding.choice.make(), hub=made.binding.choice.hub, seed=seed,
    )  # fmt: skip
    held = folds.held(0)
    targets = [key for key in train.names if key != name]
    ids = sorted({
        str(item) for key in targets
        for item in spaces[key].ids[np.unique(held.column(key)[held.column(key) >= 0])]
    })  # fmt: skip
    gallery = {key: part.bind(key, spaces[key].of_items(ids)) for key in targets}
    index = Index.build({key: space for key, space in gallery.items() if len(space)})
    asked = _own_texts(ws, column, ids)[:MOST]
    without = {column} | _repeated(ws, column, asked)
    texts = texts_of(ws, without, set(ids))
    if not any(texts.values()):
        raise ConjoinError(
            "tune", f"nothing but {column!r} is written of the items",
            "judge queries of your own: --queries FILE with columns query and id",
        )  # fmt: skip
    _, queries = encode_texts(ws, made, [text for text, _ in asked], name)
    bound = part.bind(name, queries)
    with tempfile.TemporaryDirectory() as folder:
        words = Lexical.open(Path(folder), texts)
        found = _judged(index, bound, name, list(index.spaces), words,
                        [(text, frozenset([item])) for text, item in asked])  # fmt: skip
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    return [Judged(q.lists, q.relevant, groups[next(iter(q.relevant))]) for q in found]


def _own_texts(ws: Workspace, column: Any, ids: Sequence[str]) -> list[tuple[str, str]]:
    """The first text of each item in a column, with the item."""
    found = []
    for item in ids:
        parts = cell_parts(ws.items.value(column, item), "text")
        if parts:
            found.append((str(parts[0]), item))
    return found


def _repeated(ws: Workspace, column: Any, asked: Sequence[tuple[str, str]]) -> set[str]:
    """Columns whose text mostly stands in the text that asks: to find by them proves nothing."""
    found = set()
    for name in text_columns(ws):
        if name == column:
            continue
        inside = []
        for text, item in asked:
            parts = cell_parts(ws.items.value(name, item), "text")
            inside += [str(part).lower() in text.lower() for part in parts[:1]]
        if inside and np.mean(inside) > 0.5:
            found.add(name)
    return found


@dataclass(frozen=True)
class TunedComposer:
    """A trained composer: how many triplets it saw, and where it is stored."""

    name: str
    triplets: int
    path: Path

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {"composer": self.name, "triplets": self.triplets, "path": str(self.path)}


def tune_composer(ws: Workspace, name: str, *, source: str | None, seed: int) -> TunedComposer:
    """Train a composer on triplets of training items whose captions differ by one word.

    Raises
    ------
    ConjoinError : it needs no training, or there are too few triplets.
    """
    row = find("query-composition", name)
    if row.cost != "trained":
        raise ConjoinError(
            "--combine", f"{name} needs no training", "use it: conjoin search --combine"
        )
    made = current_fit(ws)
    caption = source or reader_of(ws, made, "text")
    spaces = ws.spaces(list(made.binding.maps))
    train, _ = ws.pairs(spaces)
    targets = [key for key in train.names if key != caption]
    said = dict(_first_texts(ws, ws.modality(caption).column))
    references, changes, wanted = [], [], []
    for target in targets:
        rows = np.unique(train.column(target)[train.column(target) >= 0])
        rows = np.array([r for r in rows if str(spaces[target].ids[r]) in said], dtype=np.int64)
        if not len(rows):
            continue
        bound = unit(_vectors(made.binding.bind(target, spaces[target].take(rows))))
        for edit in edits([said[str(spaces[target].ids[row])] for row in rows]):
            references.append(bound[edit.reference])
            changes.append(edit.words)
            wanted.append(bound[edit.target])
    if not references:
        raise ConjoinError("--combine", "no two captions differ by one word", "compose by sum")
    order = np.random.default_rng([seed, 31]).permutation(len(references))[:5000]
    distinct = sorted({changes[at] for at in order})
    _, space = encode_texts(ws, made, distinct, caption)
    words = unit(_vectors(made.binding.bind(caption, space)))
    place = {word: at for at, word in enumerate(distinct)}
    composed = row.make().fit(
        np.stack([references[at] for at in order]),
        np.stack([words[place[changes[at]]] for at in order]),
        np.stack([wanted[at] for at in order]), seed=seed,
    )  # fmt: skip
    path = ranking_folder(ws) / f"composer-{name}.safetensors"
    save_composed(path, name, {}, composed, made.binding.frame.id)
    return TunedComposer(name, len(order), path)


def _vectors(space: Space) -> np.ndarray:
    return np.asarray(space.vectors, dtype=np.float64)


def _first_texts(ws: Workspace, column: Any) -> list[tuple[str, str]]:
    """Each item with the first clause of its text: what stands before a comma."""
    return [
        (item, text.split(",")[0])
        for text, item in _own_texts(ws, column, list(map(str, ws.items.ids)))
    ]
