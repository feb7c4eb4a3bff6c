"""What is trained on, and the batches of it: a batch is a function of (seed, step)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.models.pretraining import masks
from conjoin.models.pretraining.targets.base import Need
from conjoin.spaces import Batch, Pairs, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import digest, stable_hash

#: The stream of lines that have every view.
PAIRS = "pairs"
#: What the name of a stream of one view's cells begins with.
UNPAIRED = "unpaired."


@dataclass(frozen=True, eq=False)
class Column:
    """One view of the items, token sets of numbers or of ids.

    Parameters
    ----------
    tokens : floats ``[Σt, d]``, or ids ``[Σt, 1]``.
    vocabulary : ids there are; 0 of floats.
    """

    tokens: Tokens
    vocabulary: int = 0

    @property
    def wide(self) -> int:
        """Numbers of a float token, 0 of ids."""
        return 0 if self.vocabulary else self.tokens.dim


@dataclass(frozen=True, eq=False)
class Corpus:
    """Items as lines of row numbers, and what each row holds.

    Parameters
    ----------
    columns : by view.
    lines : rows of each item by view, ``ABSENT`` where it lacks one; ``group`` is its family.
    labels : ``[n]`` class of each line, −1 where unknown; ``None`` without classes.
    """

    columns: Mapping[str, Column]
    lines: Pairs
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, chosen: np.ndarray) -> "Corpus":
        """Some of its lines; columns stay."""
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, lines=self.lines.take(chosen), labels=labels)

    def rows(self, view: str) -> np.ndarray:
        """The rows of a view that lines name, each once."""
        own = np.unique(self.lines.column(view))
        return own[own != ABSENT]

    def counts(self, view: str) -> np.ndarray:
        """How often each id of a view occurs in its lines."""
        column = self.columns[view]
        held = column.tokens.take(self.rows(view)).vectors.ravel()
        return np.bincount(held.astype(np.int64), minlength=column.vocabulary)

    def spread(self, view: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of a view's float tokens over its lines; of none 0 and 1."""
        held = self.columns[view].tokens.take(self.rows(view)).vectors
        if not len(held):
            return np.zeros(held.shape[1], np.float32), np.ones(held.shape[1], np.float32)
        shift = held.mean(0, dtype=np.float64)
        scale = held.std(0, dtype=np.float64)
        floor = 1e-3 * max(float(scale.max(initial=0.0)), 1e-6)
        return shift.astype(np.float32), np.maximum(scale, floor).astype(np.float32)

    @property
    def paired(self) -> frozenset[frozenset[str]]:
        """Couples of views that stand on one line somewhere."""
        has = self.lines.rows != ABSENT
        names = self.lines.names
        return frozenset(
            frozenset((names[a], names[b]))
            for a in range(len(names))
            for b in range(a)
            if (has[:, a] & has[:, b]).any()
        )

    @cached_property
    def digest(self) -> str:
        """A hash of what it holds, as far as batches go."""
        held = [
            [
                view, column.vocabulary,
                digest(np.ascontiguousarray(column.tokens.offsets).tobytes()),
                digest(np.ascontiguousarray(column.tokens.vectors).tobytes()),
            ]
            for view, column in self.columns.items()
        ]  # fmt: skip
        lines = digest(np.ascontiguousarray(self.lines.rows).tobytes())
        groups = digest(np.ascontiguousarray(self.lines.group).tobytes())
        labels = "" if self.labels is None else digest(np.asarray(self.labels).tobytes())
        return digest([held, lines, groups, labels])


@dataclass(frozen=True, eq=False)
class Stepped:
    """The batches of a run, by number.

    Streams take turns by their rates: after any number of steps each has had its share, to within
    one step. A stream's lines come in a new order every pass.

    Parameters
    ----------
    corpus : training lines.
    needs : the union of what the targets need; built once a batch.
    rates : by stream, ``pairs`` or ``unpaired.VIEW``; streams without lines are left out.
    size : lines a batch.
    longest : tokens a set is cut to.
    steps : batches there are.
    """

    corpus: Corpus
    needs: frozenset[Need]
    rates: Mapping[str, float]
    size: int
    longest: int
    steps: int
    seed: int = 0

    @cached_property
    def streams(self) -> dict[str, np.ndarray]:
        """Lines of each stream that has any."""
        return streams(self.corpus, self.rates)

    @cached_property
    def turns(self) -> list[tuple[str, int]]:
        """Of each step, its stream and how often that had its turn before."""
        rates = {name: self.rates[name] for name in self.streams}
        total = sum(rates.values())
        had = dict.fromkeys(rates, 0)
        found = []
        for step in range(self.steps):
            name = max(rates, key=lambda one: rates[one] / total * (step + 1) - had[one])
            found.append((name, had[name]))
            had[name] += 1
        return found

    def lines(self, step: int) -> tuple[str, np.ndarray]:
        """The stream of a step, and its lines."""
        name, turn = self.turns[step]
        own = self.streams[name]
        count = max(1, round(len(own) / self.size))
        number, part = divmod(turn, count)
        order = np.random.default_rng([self.seed, number, stable_hash(name)]).permutation(own)
        return name, np.array_split(order, count)[part]

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        name, lines = self.lines(step)
        only = name.removeprefix(UNPAIRED) if name != PAIRS else ""
        made = collate(
            self.corpus, lines, self.needs, longest=self.longest, seed=(self.seed, step), only=only
        )
        return replace(made, progress=step / max(1, self.steps))


def streams(corpus: Corpus, rates: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Lines of each stream that has any and a rate above 0.

    Raises
    ------
    ConjoinError : a stream is unknown, or none has lines.
    """
    has = corpus.lines.rows != ABSENT
    known = [PAIRS, *(UNPAIRED + view for view in corpus.lines.names)]
    found = {}
    for name, rate in rates.items():
        if name not in known:
            raise ConjoinError(f"mix.{name}", "is no stream", nearest(name, known))
        if name == PAIRS:
            own = np.flatnonzero(has.sum(1) > 1)
        else:
            own = np.flatnonzero(has[:, corpus.lines.names.index(name.removeprefix(UNPAIRED))])
        if rate > 0 and len(own):
            found[name] = own
    if not found:
        raise ConjoinError(
            "mix", f"no line feeds {', '.join(rates)}", "give a stream that has items"
        )
    return found


def collate(
    corpus: Corpus,
    lines: np.ndarray,
    needs: Iterable[Need],
    *,
    longest: int,
    seed: tuple[int, ...],
    only: str = "",
) -> Batch:
    """Lines as one batch that holds exactly what the needs are.

    ``ids`` are families: whatever compares a row with others takes none of its own family.

    Parameters
    ----------
    only : the view that is shown of an unpaired stream's lines.
    """
    import torch

    rows, ids, present, kept = {}, {}, {}, {}
    group = corpus.lines.group[lines]
    for view, column in corpus.columns.items():
        own = corpus.lines.column(view)[lines]
        here = (own != ABSENT) & (only in ("", view))
        taken, keep = padded(column, np.where(here, own, 0), here, longest)
        rows[view], kept[view] = torch.from_numpy(taken), torch.from_numpy(keep)
        ids[view] = torch.from_numpy(np.where(here, group, -1))
        present[view] = torch.from_numpy(here)
    weights = torch.from_numpy(corpus.lines.weight[lines].astype(np.float32))
    made = Batch(rows, ids, present, weights, masks=kept, seed=seed)
    return replace(made, drawn=drawn(corpus, lines, made, needs))


def padded(
    column: Column, rows: np.ndarray, here: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """``[b, t]`` ids or ``[b, t, d]`` floats, zeros at their ends, and what exists of them."""
    offsets = column.tokens.offsets
    starts = offsets[:-1][rows]
    counts = np.where(here, np.minimum(np.diff(offsets)[rows], longest), 0)
    keep = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
    at = (starts[:, None] + np.arange(keep.shape[1]))[keep]
    if column.vocabulary:
        out = np.zeros(keep.shape, dtype=np.int64)
        out[keep] = column.tokens.vectors[at, 0]
        return out, keep
    floats = np.zeros((*keep.shape, column.tokens.dim), dtype=np.float32)
    floats[keep] = column.tokens.vectors[at]
    return floats, keep


def drawn(corpus: Corpus, lines: np.ndarray, batch: Batch, needs: Iterable[Need]) -> dict[str, Any]:
    """What is needed beside the rows, by key.

    Raises
    ------
    ConjoinError : nobody knows how to make a need.
    """
    import torch

    found: dict[str, Any] = {}
    for need in sorted(needs, key=lambda one: one.key):
        if need.kind == "labels":
            assert corpus.labels is not None, "a target that needs labels says so in lacks()"
            found[need.key] = torch.from_numpy(np.asarray(corpus.labels)[lines])
        elif need.kind == "plan" and need.key not in found:
            found |= _plans(need, lines, batch)
        elif need.kind != "plan":
            raise ConjoinError(f"need {need.kind}", "is unknown", nearest(need.kind, ["plan"]))
    return found


def _plans(need: Need, lines: np.ndarray, batch: Batch) -> dict[str, Any]:
    """What a mask hides; one that shares a budget among views is drawn for all of them at once."""
    import torch

    mask = masks.parse(need.spec)
    views = [need.view] if need.view else list(batch.rows)
    counts = {view: batch.masks[view].sum(1).numpy() for view in views}
    salt = stable_hash(need.key)
    sources = [np.random.default_rng([*batch.seed, int(line), salt]) for line in lines]
    hidden = mask.draw(counts, sources)
    return {
        replace(need, view=view).key if need.view else f"{need.key}/{view}": torch.from_numpy(own)
        for view, own in hidden.items()
    }


@dataclass(frozen=True, eq=False)
class Sides:
    """Training and validation lines: no family stands on both.

    Parameters
    ----------
    train, check : lines of each.
    """

    train: Corpus
    check: Corpus
    notes: Sequence[str] = field(default_factory=tuple)


def sides(corpus: Corpus, share: float, seed: int) -> Sides:
    """Keep a share of the families for validation; of fewer than ten families none."""
    groups = np.unique(corpus.lines.group)
    rng = np.random.default_rng([seed, stable_hash("validation")])
    aside = round(share * len(groups)) if len(groups) >= 10 else 0
    held = np.isin(corpus.lines.group, rng.permutation(groups)[:aside])
    return Sides(corpus.take(np.flatnonzero(~held)), corpus.take(np.flatnonzero(held)))
