"""Which tokens are hidden: counts of tokens and one random source a row → what is hidden."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError

Counts = Mapping[str, np.ndarray]
Sources = Sequence[np.random.Generator]


@runtime_checkable
class Mask(Protocol):
    """A frozen dataclass that draws what is hidden."""

    def draw(self, counts: Counts, sources: Sources) -> dict[str, np.ndarray]:
        """By view ``[b, t]`` booleans, true where a token is hidden.

        Parameters
        ----------
        counts : by view ``[b]``, how many tokens each row has; 0 of an absent view.
        sources : one a row, so that what is hidden of a row does not depend on its neighbours.
        """
        ...


@dataclass(frozen=True)
class TokenMask:
    """Hide a share of each set's tokens at random: ``max(1, round(share · t))`` of ``t``.

    Parameters
    ----------
    share : of the tokens.

    References
    ----------
    Devlin et al. 2019 (devlin2019bert), all chosen tokens hidden.
    """

    share: Annotated[float, Search(0.01, 0.99)] = 0.3

    def draw(self, counts: Counts, sources: Sources) -> dict[str, np.ndarray]:
        """What is hidden of each view."""
        return _each(counts, sources, lambda t, rng: rng.permutation(t)[: budget(self.share, t)])


@dataclass(frozen=True)
class SpanMask:
    """Hide spans until ``max(1, round(share · t))`` tokens are: lengths are geometric.

    Parameters
    ----------
    share : of the tokens.
    mean : mean length of a span; the last one is cut to the budget.

    References
    ----------
    Joshi et al. 2020 (joshi2020spanbert).
    """

    share: Annotated[float, Search(0.01, 0.99)] = 0.3
    mean: Annotated[float, Search(1, 20)] = 3.0

    def draw(self, counts: Counts, sources: Sources) -> dict[str, np.ndarray]:
        """What is hidden of each view."""
        return _each(counts, sources, self._spans)

    def _spans(self, t: int, rng: np.random.Generator) -> np.ndarray:
        hidden = np.zeros(t, dtype=bool)
        left = budget(self.share, t)
        while left:
            free = np.flatnonzero(~hidden)
            start = int(rng.choice(free))
            size = min(int(rng.geometric(1 / self.mean)), left)
            stop = start
            while stop < t and stop < start + size and not hidden[stop]:
                hidden[stop] = True
                stop += 1
            left -= stop - start
        return np.flatnonzero(hidden)


@dataclass(frozen=True)
class ViewMask:
    """Hide a whole view with a chance, else a share of its tokens: ``whole`` of rows show nothing.

    Parameters
    ----------
    whole : chance that a row's view is hidden whole.
    share : of the tokens otherwise.

    References
    ----------
    Xu et al. 2021 (xu2021vlm).
    """

    whole: Annotated[float, Search(0.0, 1.0)] = 0.5
    share: Annotated[float, Search(0.01, 0.99)] = 0.15

    def draw(self, counts: Counts, sources: Sources) -> dict[str, np.ndarray]:
        """What is hidden of each view."""

        def chosen(t: int, rng: np.random.Generator) -> np.ndarray:
            every = rng.random() < self.whole
            return rng.permutation(t)[: t if every else budget(self.share, t)]

        return _each(counts, sources, chosen)


@dataclass(frozen=True)
class DirichletMask:
    """Show ``round(shown · Σt)`` tokens of all views together, shared by a Dirichlet draw.

    Shares ``~ Dir(α, …, α)`` over the views that a row has; each view gets the floor of its share
    of the budget, at most what it has, and what is left goes one by one to the view furthest below
    its share, so that the budget is met exactly.

    Parameters
    ----------
    shown : share of all tokens that stay visible.
    alpha : concentration; small ones show one view and hide the others.

    References
    ----------
    Bachmann et al. 2022 (bachmann2022multimae); their code rounds shares and so misses the budget.
    """

    shown: Annotated[float, Search(0.01, 0.99)] = 1 / 6
    alpha: Annotated[float, Search(0.01, 100, log=True)] = 1.0

    def draw(self, counts: Counts, sources: Sources) -> dict[str, np.ndarray]:
        """What is hidden of each view."""
        names = list(counts)
        out = {view: np.zeros((len(own), max(1, own.max(initial=0))), dtype=bool)
               for view, own in counts.items()}  # fmt: skip
        for row, rng in enumerate(sources):
            has = np.array([int(counts[view][row]) for view in names])
            for view, t, seen in zip(names, has, self.shares(has, rng), strict=True):
                out[view][row, rng.permutation(t)[seen:]] = True
        return out

    def shares(self, has: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How many tokens of each view stay visible."""
        share = rng.dirichlet(np.full(len(has), self.alpha)) * (has > 0)
        total = max(1, round(self.shown * int(has.sum()))) if has.sum() else 0
        aim = share / max(share.sum(), 1e-12) * total
        seen = np.minimum(np.floor(aim).astype(int), has)
        while seen.sum() < total:
            short = np.where(seen < has, aim - seen, -np.inf)
            seen[int(short.argmax())] += 1
        return seen


def budget(share: float, count: int) -> int:
    """How many of ``count`` tokens a share is: one at least, of none none.

    >>> budget(0.15, 20), budget(0.15, 1), budget(0.15, 0)
    (3, 1, 0)
    """
    return min(count, max(1, round(share * count)))


def parse(text: str) -> Mask:
    """A mask as recipes write it: its name, then its fields in order behind colons.

    Raises
    ------
    ConjoinError : no such mask, or a field is no number or out of range.

    Examples
    --------
    >>> parse("span:0.2:4")
    SpanMask(share=0.2, mean=4.0)
    """
    import dataclasses

    name, *given = text.split(":")
    row = catalogue.find("mask", name)
    fields = [entry.name for entry in dataclasses.fields(row.load())]
    try:
        values = [float(one) for one in given]
    except ValueError:
        raise ConjoinError(f"mask {text!r}", "a field is no number", "write token:0.3") from None
    if len(values) > len(fields):
        raise ConjoinError(f"mask {text!r}", f"{len(values)} numbers", f"give {fields}")
    made: Mask = row.make(dict(zip(fields, values, strict=False)))
    return made


def _each(counts: Counts, sources: Sources, chosen: Any) -> dict[str, np.ndarray]:
    """What one view's rule hides of every view by itself."""
    found = {}
    for view, own in counts.items():
        hidden = np.zeros((len(own), max(1, int(own.max(initial=0)))), dtype=bool)
        for row, (t, rng) in enumerate(zip(own, sources, strict=True)):
            if t:
                hidden[row, chosen(int(t), rng)] = True
        found[view] = hidden
    return found
