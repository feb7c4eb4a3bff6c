"""One way from a query to its hits, for the command line, the server and Python alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from conjoin.encoders.function import find_function
from conjoin.encoders.open import kind_of
from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.stored import Fit, current_fit
from conjoin.project.search import queries as asking
from conjoin.project.search.cascade import cascaded, depth, stage_of
from conjoin.project.search.index import metadata, open_index
from conjoin.project.search.lexical import captions_of, open_words
from conjoin.project.search.ranking import (
    AGAIN,
    CLUSTERED,
    DEPTH,
    Answer,
    Mixture,
    Part,
    Places,
    Ranking,
    again,
    by_scores,
    check_ranking,
    cut,
    mixture_of,
    open_composer,
    places,
    shown_parts,
    stored_fusion,
    with_words,
    words_found,
)
from conjoin.project.workspace import Workspace
from conjoin.retrieval.hits import MIXED, Hits
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.lexical.bm25 import Lexical
from conjoin.retrieval.queries.composition import Composed, Term, compose
from conjoin.retrieval.queries.suggestion import Suggestion, suggest
from conjoin.retrieval.ranking.hybrid import Fusion
from conjoin.spaces import Space


@dataclass(frozen=True, eq=False)
class Read:
    """One part of a query, as a vector.

    Parameters
    ----------
    space : one row in the joint frame.
    source : the query's side of a direction; ``None`` for a vector of the joint frame.
    weight : below 0 where the part is not wanted.
    name : what a person calls it.
    raw : the same row as its encoder gave it, where that is known.
    """

    space: Space
    source: str | None
    weight: float = 1.0
    name: str = ""
    raw: Space | None = None

    @property
    def term(self) -> Term:
        """The part as query compositions take it."""
        return Term(self.space, self.weight, self.name, self.source)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A query whose parts are read, and how its hits are to be ranked.

    Parameters
    ----------
    words : the words to mix with; ``None`` where no part is of words.
    items : ids that the query names.
    exclude : ids that are never hits.
    shown : what a person calls the query.
    min_depth : hits a list that later steps need at least.
    """

    reads: tuple[Read, ...]
    how: Ranking
    words: str | None = None
    items: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shown: str = ""
    min_depth: int = 0


@dataclass(frozen=True, eq=False)
class Lookup:
    """What the index is asked.

    Parameters
    ----------
    space : one row in the joint frame; ``None`` where every row must be scored.
    alone : whether it cannot share a call of the index with other queries.
    """

    source: str | None
    space: Space | None
    depth: int
    gone: tuple[str, ...]
    alone: bool


@dataclass(frozen=True, eq=False)
class SearchSession:
    """A fit and its index, opened once and asked many times.

    Words, what was tuned, query compositions and the places of items are opened when first needed
    and kept. What is published later is not seen: open another.

    Examples
    --------
    >>> from pathlib import Path
    >>> def first(folder: Path, words: str) -> str:
    ...     session = SearchSession.open(Workspace(folder, writes=False))
    ...     return session.search(asking.Query(text=words), k=1).best[0].id
    """

    ws: Workspace
    fit: Fit
    index: Index
    _composers: dict[str, Composed] = field(default_factory=dict, repr=False)
    _places: dict[tuple[str, ...], Places] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, ws: Workspace) -> "SearchSession":
        """What is in use in a workspace.

        Raises
        ------
        ConjoinError : nothing is fitted, or the index cannot be read.
        """
        return cls.of(ws, current_fit(ws))

    @classmethod
    def of(cls, ws: Workspace, made: Fit) -> "SearchSession":
        """A fit that is open already, and the index in use.

        An index that holds no metadata is filtered by the table's.
        """
        index = open_index(ws)
        spaces = index.spaces
        if index.about is None:
            index = replace(index, about=lambda name: metadata(ws, {name: spaces[name]})[name])
        return cls(ws, made, index)

    # The steps, as the server batches them

    def lookup(self, wanted: Wanted) -> Lookup:
        """What the index is asked: the vector of one part, or of several composed.

        Raises
        ------
        ConjoinError : a query composition is unknown or not trained, or fusion has no words.
        """
        how, reads = wanted.how, wanted.reads
        most = DEPTH if self.mixture(wanted) is not None else 0
        wide = max(how.k, wanted.min_depth, most)
        if len(reads) > 1 or how.combine is not None or reads[0].weight < 0:
            composed = self.composer(how.combine or "sum")
            space = compose([read.term for read in reads], composed)
            gone = tuple(sorted({*wanted.exclude, *wanted.items}))
            return Lookup(None, space, wide, gone, space is None)
        source = reads[0].source
        inside = list(how.into or self.index.spaces) == [source] or source is None
        gone = tuple(sorted({*wanted.exclude, *(wanted.items if inside else ())}))
        staged = source is not None and reads[0].raw is not None and stage_of(self.fit) is not None
        return Lookup(source, reads[0].space, wide, gone, staged)

    def found(self, wanted: Wanted, asked: Lookup) -> Hits:
        """Hits by vectors alone; the second stage of a cascade puts the first in order."""
        how = wanted.how
        if asked.space is None:
            terms = [read.term for read in wanted.reads]
            rest = (asked.depth, set(asked.gone), wanted.shown)
            return by_scores(self.index, terms, self.composer(how.combine or "sum"), how, rest)
        raw = wanted.reads[0].raw
        hits = self.index.search(
            asked.space, asked.source, into=how.into, exclude=asked.gone, shown=wanted.shown,
            k=depth(self.fit, asked.depth) if asked.alone else asked.depth, where=how.where,
        )  # fmt: skip
        if not asked.alone or raw is None or asked.source is None:
            return hits
        return cascaded(self.ws, self.fit, asked.source, raw, hits, asked.depth)

    def mixed(self, wanted: Wanted, hits: Hits) -> Hits:
        """Hits by vectors mixed with hits by words, where that was asked for or found to help."""
        mixture, how = self.mixture(wanted), wanted.how
        if mixture is None or wanted.words is None:
            return hits
        dense = tuple(name for name in hits.lists if name != MIXED)
        gone = {*wanted.exclude, *wanted.items}
        by_words = words_found(self.lexical, wanted.words, gone, how.where)
        there = self.places(dense, how.where)
        return with_words(self.index, hits, by_words, there, mixture, how)

    # What is opened once

    def mixture(self, wanted: Wanted) -> Mixture | None:
        """What mixes vectors with words for a query, if anything does."""
        return mixture_of(self.fusion, wanted.how.fusion, wanted.words, len(wanted.reads))

    def composer(self, name: str) -> Composed:
        """A query composition, ready for queries."""
        if name not in self._composers:
            self._composers[name] = open_composer(self.ws, name, self.fit.binding.frame.id)
        return self._composers[name]

    @cached_property
    def fusion(self) -> Fusion | None:
        """What ``conjoin tune`` found, where it was run for this fit."""
        return stored_fusion(self.ws)

    @cached_property
    def lexical(self) -> Lexical:
        """The words of all items."""
        return open_words(self.ws)

    def places(self, targets: tuple[str, ...], where: str | None) -> Places:
        """Cells that are searched and meet a filter."""
        if where is not None:
            return places(self.index, targets, where)
        if targets not in self._places:
            self._places[targets] = places(self.index, targets, None)
        return self._places[targets]

    # Whole queries

    def read(self, part: Part, into: Sequence[str] = ()) -> Read:
        """A part of a query read by its encoder, or an item's stored vector.

        Raises
        ------
        ConjoinError : no bound modality reads it, or its encoder changed since the fit.
        """
        asked = asking.encoded(self.ws, self.fit, part.query, into)
        bound = asked.bound(self.fit)
        return Read(bound, asked.source, part.weight, part.query.shown(), asked.space)

    def search(
        self, query: asking.Query, *, into: Sequence[str] = (), k: int = 10,
        where: str | None = None,
    ) -> Hits:  # fmt: skip
        """Hits of one thing by vectors alone.

        Parameters
        ----------
        into : target modalities; all where empty.
        where : a filter on metadata.

        Raises
        ------
        ConjoinError : the query cannot be encoded by any bound modality, or the encoder has
            changed since the fit.
        """
        self._check_targets(into)
        how = Ranking(k=k, into=tuple(into), where=where, fusion="none")
        read = self.read(Part("query", query, 1.0), into)
        shown = f"{self.ws.label(query.item)} ({read.source})" if query.item else query.shown()
        items = (query.item,) if query.item else ()
        wanted = Wanted((read,), how, None, items, (), shown)
        return self.found(wanted, self.lookup(wanted))

    def answer(self, parts: Sequence[Part], how: Ranking, *, suggesting: bool = False) -> Answer:
        """Find, mix with words, rerank, suggest.

        Raises
        ------
        ConjoinError : an option names what is not there, or a part cannot be read.
        """
        check_ranking(how)
        self._check_targets(how.into)
        scorer = (
            find_function(how.rerank.removeprefix("python:"), how.rerank) if how.rerank else None
        )
        wanted = self._wanted(parts, how, AGAIN if scorer else 0, CLUSTERED if suggesting else 0)
        hits = self.mixed(wanted, self.found(wanted, self.lookup(wanted)))
        if scorer is not None:
            hits = again(self.ws, parts, hits, scorer, str(how.rerank))
        suggestions = tuple(self._suggest(hits, parts, how)) if suggesting else ()
        return Answer(cut(hits, how), suggestions, self._readers(parts, how))

    def _wanted(self, parts: Sequence[Part], how: Ranking, *depths: int) -> Wanted:
        words = next((part.query.text for part in parts if part.role == "text"), None)
        mixture_of(self.fusion, how.fusion, words, len(parts))  # refuse before anything is encoded
        reads = tuple(self.read(part, how.into) for part in parts)
        one = parts[0].query if len(parts) == 1 and how.combine is None else None
        shown = shown_parts(self.ws, parts)
        if one is not None and one.item is not None:
            shown = f"{shown} ({reads[0].source})"
        items = tuple(part.query.item for part in parts if part.query.item)
        return Wanted(reads, how, words, items, (), shown, max(depths))

    def _check_targets(self, into: Sequence[str]) -> None:
        known = self.index.spaces
        for name in into:
            if name not in known:
                raise ConjoinError("--into", f"{name!r} is not indexed", nearest(name, known))

    def _readers(self, parts: Sequence[Part], how: Ranking) -> tuple[str, ...]:
        typed = [part.query for part in parts if part.query.text is not None]
        if not typed or any(query.source for query in typed):
            return ()
        kinds = {name: kind_of(self.ws.modality(name).uri) for name in self.fit.binding.maps}
        return tuple(asking.readers(self.fit, kinds, "text", how.into))

    def _suggest(self, hits: Hits, parts: Sequence[Part], how: Ranking) -> list[Suggestion]:
        best = hits.best[:CLUSTERED]
        if self.index.frame.score == "maxsim":
            raise ConjoinError("--suggest", "the index holds token sets", "fit a method of vectors")
        vectors = []
        for hit in best:
            space = self.index.spaces[hit.modality]
            rows = self.index.rows_of(hit.modality, [hit.id])
            at = rows[space.parts[rows] == hit.part][0]
            vectors.append(np.asarray(space.vectors[at], dtype=np.float64))
        if len(best) < 4:
            return []
        ids = [hit.id for hit in best]
        words = next((part.query.text for part in parts if part.role == "text"), "") or ""
        texts = captions_of(self.ws, set(ids))
        targets = (best[0].modality,) if len({hit.modality for hit in best}) == 1 else how.into

        def ask(text: str) -> list[str]:
            query = asking.Query(text=text)
            found = self.search(query, into=targets, k=len(best), where=how.where)
            return [hit.id for hit in found.best]

        readable = "text" in asking.kinds_read(self.ws)
        asker: Callable[[str], list[str]] | None = ask if readable else None
        return suggest(words, ids, np.stack(vectors), texts, ask=asker)


def search(
    ws: Workspace, query: asking.Query, *, into: Sequence[str], k: int, where: str | None = None
) -> Hits:
    """Search what is in use once; a :class:`SearchSession` is opened for it."""
    return SearchSession.open(ws).search(query, into=into, k=k, where=where)
