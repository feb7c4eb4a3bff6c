"""What a search does beyond one vector: several parts, words, a second look, suggestions."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.errors import ConjoinError, nearest
from conjoin.project.search import queries as asking
from conjoin.project.search.lexical import ranking_folder
from conjoin.project.workspace import Workspace
from conjoin.retrieval.hits import MIXED, Hit, Hits
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.lexical.bm25 import Lexical
from conjoin.retrieval.queries.composition import Composed, Term, load_composed, parts_of
from conjoin.retrieval.queries.suggestion import Suggestion
from conjoin.retrieval.ranking.hybrid import Fusion
from conjoin.retrieval.ranking.rerank import Cutoff, rerank, score_pairs
from conjoin.retrieval.ranking.score_fusion import LOWEST, Scored, ScoreFusion
from conjoin.storage.files import read_json

#: Hits a list that words are mixed with, at least; the rest count as its last.
DEPTH = 200
#: Items that words are looked up for at most where no filter may drop any of them; the rest count
#: as the last.
WORDS_MOST = 10_000
#: Hits looked at again, and hits clustered, at least.
AGAIN, CLUSTERED = 50, 40
#: Name of the list found by words.
WORDS = "bm25"

_ROLES = ("text", "query", "item", "like", "not", "not-item")


@dataclass(frozen=True)
class Part:
    """One part of what is asked.

    Parameters
    ----------
    role : which option gave it; also what ``--weight`` calls it.
    query : what it is.
    weight : below 0 where it is not wanted.
    """

    role: str
    query: asking.Query
    weight: float


@dataclass(frozen=True)
class Ranking:
    """How hits are found and ordered.

    Parameters
    ----------
    k : hits a list.
    into : target modalities; all where empty.
    where : a filter on metadata.
    combine : catalogue name of a query composition; ``sum`` when not given.
    fusion : catalogue name, ``none``, or ``None`` for what ``conjoin tune`` found to help.
    rerank : ``python:module:function`` that scores pairs of cells.
    min_score : smallest score of ``rerank``, or of the list, that is kept.
    """

    k: int = 10
    into: tuple[str, ...] = ()
    where: str | None = None
    combine: str | None = None
    fusion: str | None = None
    rerank: str | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class Answer:
    """Hits, and queries to go on with.

    Parameters
    ----------
    readers : modalities that could read the words, the one that did first; none where named.
    """

    hits: Hits
    suggestions: tuple[Suggestion, ...] = ()
    readers: tuple[str, ...] = ()

    @property
    def read_by(self) -> str | None:
        """Which modality read the words, where another could have; a line for people."""
        if len(self.readers) < 2:
            return None
        first, *others = self.readers
        return f"the words are read by {first}; for another: --from {' or '.join(others)}"

    def to_json(self) -> dict[str, Any]:
        """The hits' keys, and ``suggestions`` where asked for."""
        found = self.hits.to_json()
        if self.suggestions:
            found["suggestions"] = [each.to_json() for each in self.suggestions]
        return {**found, "readers": list(self.readers)}


def parts_asked(
    words: str | None, given: Mapping[str, Sequence[Any]], weights: Sequence[str],
    source: str | None,
) -> list[Part]:  # fmt: skip
    """The parts of a query from the options, what is wanted first: pictures and items, then words.

    Parameters
    ----------
    given : values of ``query``, ``item``, ``like``, ``not`` and ``not-item``.
    weights : ``NAME=NUMBER`` each, the name of an option.

    Raises
    ------
    ConjoinError : nothing is asked, words are blank, or a weight is of nothing that is asked.
    """
    found: list[Part] = []
    for role in ("query", "item", "like"):
        for value in given.get(role, ()):
            own = {"file": value} if role == "query" else {"item": value}
            found.append(Part(role, asking.Query(**own, source=source), 1.0))
    if words is not None:
        found.append(Part("text", asking.Query(text=words, source=source), 1.0))
    for value in given.get("not", ()):
        found.append(Part("not", asking.Query(text=value), -0.5))
    for value in given.get("not-item", ()):
        found.append(Part("not-item", asking.Query(item=value), -0.5))
    if not any(part.weight > 0 for part in found):
        raise ConjoinError(
            "search", "nothing to look for",
            "give words, --query FILE, --item ID or --like ID",
        )  # fmt: skip
    for part in found:
        if part.query.text is not None and not part.query.text.strip():
            raise ConjoinError("search", "the words are empty", "give words, or leave them out")
    return _weighed(found, weights)


def _weighed(parts: Sequence[Part], weights: Sequence[str]) -> list[Part]:
    asked = dict(map(_weight, weights))
    roles = dict.fromkeys(part.role for part in parts)
    for name in asked:
        if name not in roles:
            raise ConjoinError("--weight", f"{name!r} is not asked", nearest(name, roles))
    return [
        replace(part, weight=float(np.sign(part.weight)) * asked.get(part.role, abs(part.weight)))
        for part in parts
    ]


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if name not in _ROLES or not (np.isfinite(number) and number > 0):
        raise ConjoinError(
            "--weight", repr(text), f"write NAME=NUMBER above 0, NAME one of {', '.join(_ROLES)}"
        )
    return name, number


def check_ranking(how: Ranking) -> None:
    """Refuse a name of a way to rank that is not there.

    Raises
    ------
    ConjoinError : one is unknown.
    """
    if how.fusion not in (None, "none"):
        find("score-fusion", str(how.fusion))
    if how.combine is not None:
        find("query-composition", how.combine)
    if how.rerank is not None and not re.fullmatch(r"python:[\w.]+:\w+", how.rerank):
        raise ConjoinError("--rerank", repr(how.rerank), "write python:module:function")


# One vector, or several parts


def open_composer(ws: Workspace, name: str, frame: str) -> Composed:
    """A composer ready for queries; a trained one as ``conjoin tune`` left it.

    Raises
    ------
    ConjoinError : it is unknown, or was not trained.
    """
    row = find("query-composition", name)
    if row.cost != "trained":
        made: Composed = row.make().restore({})
        return made
    path = ranking_folder(ws) / f"composer-{name}.safetensors"
    if not path.exists():
        raise ConjoinError(
            "--combine", f"{name} is not trained", f"run: conjoin tune --combine {name}"
        )
    return load_composed(path, frame)[1]


def shown_parts(ws: Workspace, parts: Sequence[Part]) -> str:
    """What a person calls a query of several parts."""
    said = []
    for part in parts:
        name = ws.label(part.query.item) if part.query.item else part.query.shown()
        sign = "not " if part.weight < 0 else ""
        said.append(f"{sign}{name}")
    return " + ".join(said).replace("+ not", "− not")


def by_scores(
    index: Index, terms: Sequence[Term], composed: Composed, how: Ranking,
    rest: tuple[int, set[str], str],
) -> Hits:  # fmt: skip
    """Every row scored, for composers that no one vector says."""
    depth, gone, shown = rest
    parts, weights = parts_of(terms)
    lists: dict[str, tuple[Hit, ...]] = {}
    for name in how.into or tuple(index.spaces):
        space, allowed = index.spaces[name], index.allowed(name, how.where)
        scores = composed.scores(index.frame.query(parts), weights, space.vectors)
        rows = np.argsort(-scores, kind="stable")
        rows = rows if allowed is None else rows[np.isin(rows, allowed)]
        found: list[Hit] = []
        seen = set(gone)
        for row in rows:
            item = str(space.ids[row])
            if len(found) == depth:
                break
            if item in seen:
                continue
            seen.add(item)
            value = float(scores[row])
            meta = dict(index.meta(item)) if index.meta else {}
            part = int(space.parts[row])
            found.append(Hit(item, name, part, value, len(found) + 1, {"composed": value}, meta,
                             time=index.time_of(name, part)))  # fmt: skip
        lists[name] = tuple(found)
    if len(lists) > 1:
        lists[MIXED] = index.mixing.mix(lists, depth, None)
    asked = {"shown": shown, "modality": None, "id": "query"}
    return Hits(asked, lists, index.frame.id)


# Words


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixer and the weights of its lists; equal ones where empty."""

    mixer: ScoreFusion
    weights: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Places:
    """Where items are searched and may be shown: looked up as they are asked for.

    Parameters
    ----------
    targets : modalities searched, the first that holds an item being where it is shown.
    allowed : by modality, ascending rows that meet a filter; ``None`` for all.
    """

    index: Index
    targets: tuple[str, ...]
    allowed: Mapping[str, np.ndarray | None]

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """By item id, the modality and part of its first cell, where it has one."""
        found: dict[str, tuple[str, int]] = {}
        for name in self.targets:
            space, allowed = self.index.spaces[name], self.allowed[name]
            rows = self.index.rows_of(name, ids)
            rows = rows if allowed is None else rows[np.isin(rows, allowed)]
            cells = zip(space.ids[rows].tolist(), space.parts[rows].tolist(), strict=True)
            for item, part in cells:
                found.setdefault(item, (name, part))
        return found


def places(index: Index, targets: Sequence[str], where: str | None) -> Places:
    """Cells that are searched and meet a filter."""
    return Places(index, tuple(targets), {name: index.allowed(name, where) for name in targets})


def mixture_of(
    tuned: Fusion | None, mixer: str | None, words: str | None, parts: int = 1
) -> Mixture | None:
    """What mixes vectors with words, if anything does.

    Parameters
    ----------
    tuned : what ``conjoin tune`` found.
    mixer : catalogue name, ``none``, or ``None`` for what was found to help.
    words : what is looked for.
    parts : how many parts the query has; what was found holds for queries of one.
    """
    if mixer == "none":
        return None
    if mixer is not None:
        if words is None:
            raise ConjoinError(
                "--fusion", "there are no words to mix with", "give words to look for"
            )
        weights = tuned.weights if tuned is not None and tuned.mixer == mixer else {}
        return Mixture(find("score-fusion", mixer).make(), weights)
    if words is None or tuned is None or not tuned.helps or parts > 1:
        return None
    return Mixture(tuned.make(), tuned.weights)


def stored_fusion(ws: Workspace) -> Fusion | None:
    """What ``conjoin tune`` found, where it was run for the fit in use."""
    path = ranking_folder(ws) / "fusion.json"
    return Fusion.from_json(read_json(path, ["mixer", "weights"])) if path.exists() else None


def scored_list(hits: Sequence[Hit], kind: str, whole: bool) -> Scored:
    """A list of hits as mixers read it; where it is cut off, the last score is what others get."""
    ids, scores = np.array([hit.id for hit in hits]), np.array([hit.score for hit in hits])
    low = LOWEST.get(kind)
    if low is not None and len(scores):
        low = min(low, float(scores.min()))
    floor = None if whole or not len(scores) else float(scores.min())
    return Scored(ids, scores, low, floor)


def words_found(lexical: Lexical, words: str, gone: Collection[str], where: str | None) -> Scored:
    """What words find: so many at most that a filter can still leave enough of them."""
    return lexical.search(words, WORDS_MOST if where is None else None, exclude=gone)


def with_words(
    index: Index, hits: Hits, found: Scored, where: Places,
    mixture: Mixture, how: Ranking,
) -> Hits:  # fmt: skip
    """Lists of vectors mixed with what words found.

    Parameters
    ----------
    where : cells that may be shown, as :func:`places` gives them.
    """
    dense = {name: own for name, own in hits.lists.items() if name != MIXED}
    source = str(hits.query.get("modality") or "")
    shown = where.of([*found.ids.tolist(), *{h.id for own in dense.values() for h in own}])
    kept = np.array([item in shown for item in found.ids.tolist()], dtype=bool)
    found = Scored(found.ids[kept], found.scores[kept], found.low, found.floor)
    lists = {
        name: scored_list(own, index.scored_by((source, name)), len(own) < max(how.k, DEPTH))
        for name, own in dense.items()
    }
    lists[WORDS] = found
    weights = {name: mixture.weights[name] for name in lists if name in mixture.weights}
    mixed = mixture.mixer.mix(lists, weights if sum(weights.values()) > 0 else None)
    known = {name: {hit.id: hit for hit in own} for name, own in dense.items()}
    by_words = dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))

    def hit(item: str, score: float, rank: int, name: str) -> Hit:
        best = [own[item] for own in known.values() if item in own]
        modality, part = shown[item]
        alone = Hit(item, modality, part, 0, 1, {}, time=index.time_of(modality, part))
        first = min(best, key=lambda h: h.rank) if best else alone
        scores = {**first.scores, **{n: own[item].score for n, own in known.items() if item in own}}
        if item in by_words:
            scores[WORDS] = by_words[item]
        scores[name] = score
        return replace(first, score=score, rank=rank, scores=scores)

    def listed(scored: Scored, name: str) -> tuple[Hit, ...]:
        pairs = zip(scored.ids.tolist(), scored.scores.tolist(), strict=True)
        return tuple(hit(i, s, r, name) for r, (i, s) in enumerate(pairs, 1))

    own = {
        name: tuple(
            replace(h, scores={**h.scores, **({WORDS: by_words[h.id]} if h.id in by_words else {})})
            for h in found_list
        )
        for name, found_list in dense.items()
    }
    most = max(how.k, DEPTH)
    every = {
        **own,
        WORDS: listed(found.head(most), WORDS),
        MIXED: listed(mixed.head(most), "fused"),
    }
    return replace(hits, lists=every)


# A second look, and what to ask next


def again(ws: Workspace, parts: Sequence[Part], hits: Hits, scorer: Callable, where: str) -> Hits:
    """Every list in the order of what a scorer says of the query's cell and each hit's."""
    asked = _cell(ws, next(part for part in reversed(parts) if part.weight > 0), hits)
    lists = {}
    for name, found in hits.lists.items():
        first = found[:AGAIN]
        pairs = [(asked, _shown_cell(ws, hit.modality, hit.id, hit.part)) for hit in first]
        lists[name] = rerank(first, score_pairs(scorer, pairs, where))
    return replace(hits, lists=lists)


def _cell(ws: Workspace, part: Part, hits: Hits) -> Any:
    query = part.query
    if query.item is None:
        return query.text if query.text is not None else str(query.file)
    name = query.source or str(hits.query.get("modality") or next(iter(hits.lists)))
    return _shown_cell(ws, name if name != "None" else next(iter(hits.lists)), query.item, 0)


def _shown_cell(ws: Workspace, modality: str, item: str, part: int) -> Any:
    return ws.cells(modality, ws.kind(modality)).get(item, part)


def cut(hits: Hits, how: Ranking) -> Hits:
    """The first hits of every list, without those below the smallest score asked for."""
    cutoff = Cutoff(-np.inf if how.min_score is None else how.min_score, how.k)
    return replace(hits, lists={name: cutoff.apply(own) for name, own in hits.lists.items()})
