"""Several vectors an item made one score: the parts of a cell, or the views of several encoders."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.spaces import Frame, Space, Tokens, unit
from conjoin.storage.digest import digest

#: What is aggregated: sets of parts, or vectors by encoder.
Several = Tokens | Mapping[str, np.ndarray]


@runtime_checkable
class MultiVector(Protocol):
    """A frozen dataclass that reduces both sides so that one score says how they match.

    ``reads`` is ``parts`` (token sets in one frame) or ``encoders`` (aligned vectors by name).
    """

    reads: ClassVar[str]

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "MultiVector":
        """Learn from lines that belong together; closed ones come back as they are."""
        ...

    def queries(self, x: Several) -> Any:
        """Queries as they are scored, ``[q, D]``."""
        ...

    def items(self, x: Several) -> Any:
        """Items as they are scored: ``[n, D]`` where one inner product does, else token sets."""
        ...

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """``[q, n]`` scores of what :meth:`queries` and :meth:`items` gave."""
        ...


def parts_of_items(space: Space) -> tuple[np.ndarray, Tokens]:
    """Item ids in order of first appearance, and the rows of each as a token set.

    Vectors come as ``Frame.item`` gives them; the tokens of an item's parts are put together.
    """
    labels, first, owner = np.unique(space.ids, return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))[owner]
    order = np.lexsort((space.parts, turn))
    if isinstance(space.vectors, Tokens):
        taken = space.vectors.take(order)
        counts = np.bincount(turn, np.diff(space.vectors.offsets), len(labels)).astype(int)
        flat = unit(np.asarray(taken.vectors, dtype=np.float32))
    else:
        flat = space.frame.item(np.asarray(space.vectors, dtype=np.float32))[order]
        counts = np.bincount(turn, minlength=len(labels))
    return labels[np.argsort(first)], Tokens(flat, np.concatenate([[0], np.cumsum(counts)]))


@dataclass(frozen=True)
class Pooling:
    """Parts ``x_1 … x_m`` of length 1, scored by ``rule``:

    * ``max``: ``max_j q · x_j``, the best part speaks for the item (``m`` vectors are kept);
    * ``mean``: ``q · unit(mean_j x_j)``;
    * ``first``: ``q · x_1``;
    * ``sum``: ``q · Σ_j x_j``, so that an item of many parts scores more;
    * ``peak``: ``q · unit(max_j x_j)``, coordinate by coordinate.

    A query of several parts is their mean, to length 1.

    Parameters
    ----------
    rule : one of these.

    References
    ----------
    ``max`` over an item's vectors: Luan et al. 2021 (luan2021mebert), whose vectors are a text's
    first tokens. ``mean`` of frames, each to length 1 before and all after: Luo et al. 2022
    (luo2022clip4clip). ``first``, ``sum``, ``peak`` of passages: Li et al. 2024 (li2024parade),
    who pool what an encoder of query and passage together gives; here query and parts are
    encoded apart.
    """

    rule: Annotated[str, Choice(("max", "mean", "first", "sum", "peak"))] = "max"
    reads: ClassVar[str] = "parts"

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "Pooling":
        """Nothing is learned."""
        return self

    def queries(self, x: Several) -> np.ndarray:
        """The mean of a query's parts, to length 1."""
        return mean_of(x)

    def items(self, x: Several) -> Any:
        """One vector an item, or the parts for ``max``."""
        held = unit_parts(x)
        starts = held.offsets[:-1]
        if self.rule == "max":
            return held
        if self.rule == "first":
            return held.vectors[starts]
        if self.rule == "peak":
            return unit(np.maximum.reduceat(held.vectors, starts, axis=0))
        total = np.add.reduceat(held.vectors, starts, axis=0)
        return total if self.rule == "sum" else unit(total)

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Inner products, of the best part for ``max``."""
        if not isinstance(items, Tokens):
            return np.asarray(queries @ items.T)
        return np.maximum.reduceat(queries @ items.vectors.T, items.offsets[:-1], axis=1)


@dataclass(frozen=True)
class Shortlist:
    """The mean of an item's parts finds it, its best part then places it.

    With ``m_i = q · unit(mean_j x_ij)`` the ``keep`` items of the largest m come first, by
    ``max_j q · x_ij``, and after them all others by ``m_i − 2``, below any cosine. Work is one
    inner product an item and one a part of those kept.

    Parameters
    ----------
    keep : items looked at again.

    References
    ----------
    Documents found by the mean of their sections' vectors, sections then placed by a second
    scorer: Lee et al. 2024 (lee2024identify), whose second scorer is a model of query and section
    together; here it is the best section's own vector.
    """

    keep: Annotated[int, Search(1, 10_000, log=True)] = 20
    reads: ClassVar[str] = "parts"

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "Shortlist":
        """Nothing is learned."""
        return self

    def queries(self, x: Several) -> np.ndarray:
        """The mean of a query's parts, to length 1."""
        return mean_of(x)

    def items(self, x: Several) -> Any:
        """The parts, each at unit length."""
        return unit_parts(x)

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Best parts of the items whose means are nearest, then means."""
        found = np.asarray(queries @ mean_of(items).T) - 2.0
        keep = min(int(self.keep), found.shape[1])
        near = np.argpartition(-found, keep - 1, axis=1)[:, :keep]
        for line, chosen in enumerate(near):
            held = items.take(chosen)
            best = np.maximum.reduceat(held.vectors @ queries[line], held.offsets[:-1])
            found[line, chosen] = best
        return found


@dataclass(frozen=True)
class Attention:
    """Parts weighed by one learned direction: ``q · unit(Σ_j a_j x_j)``, ``a = softmax(x w)``.

    ``w`` starts at 0, the mean, and minimises the cross-entropy of naming each query's item among
    all, ``−log softmax(q · Σ_j a_j x_j / τ)``, plus ``λ |w|²``, by L-BFGS.

    Parameters
    ----------
    temperature : τ.
    decay : λ.
    most : lines learned from.

    References
    ----------
    Li et al. 2024 (li2024parade), its attention over passages, as in the authors' code; there the
    encoder is trained too and sees query and passage together.
    """

    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.05
    decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-3
    most: Annotated[int, Search(16, 10_000, log=True)] = 1000
    weight: np.ndarray | None = field(default=None, compare=False)
    reads: ClassVar[str] = "parts"

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "Attention":
        """Learn the direction from lines that belong together."""
        from scipy.optimize import minimize

        asked, held = self.queries(queries), unit_parts(items)
        if len(asked) != len(held):
            raise ConjoinError("items", f"{len(held)} for {len(asked)} queries", "pair them")
        if len(held) > self.most:
            chosen = np.random.default_rng([seed, 23]).permutation(len(held))[: self.most]
            asked, held = asked[chosen], held.take(chosen)
        start = np.zeros(held.dim)
        found = minimize(
            lambda w: self.loss(w, asked, held), start, jac=True, method="L-BFGS-B",
            options={"maxiter": 60},
        )  # fmt: skip
        return replace(self, weight=found.x)

    def loss(self, w: np.ndarray, asked: np.ndarray, held: Tokens) -> tuple[float, np.ndarray]:
        """The loss and its gradient by ``w``."""
        x, starts = held.vectors, held.offsets[:-1]
        owner = np.repeat(np.arange(len(held)), np.diff(held.offsets))
        a = _softmax(x @ w, starts, owner)
        pooled = np.add.reduceat(a[:, None] * x, starts, axis=0)
        logits = asked @ pooled.T / self.temperature
        logits -= logits.max(axis=1, keepdims=True)
        chance = np.exp(logits)
        chance /= chance.sum(axis=1, keepdims=True)
        n = len(asked)
        value = -np.log(np.maximum(np.diag(chance), 1e-300)).mean() + self.decay * w @ w
        apart = (chance - np.eye(n)) / (n * self.temperature)
        by_part = np.einsum("kd,kd->k", (apart.T @ asked)[owner], x)
        centred = by_part - np.add.reduceat(a * by_part, starts)[owner]
        return float(value), (a * centred) @ x + 2 * self.decay * w

    def queries(self, x: Several) -> np.ndarray:
        """The mean of a query's parts, to length 1."""
        return mean_of(x)

    def items(self, x: Several) -> np.ndarray:
        """One vector an item; the mean before anything is learned."""
        held = unit_parts(x)
        starts = held.offsets[:-1]
        owner = np.repeat(np.arange(len(held)), np.diff(held.offsets))
        w = np.zeros(held.dim) if self.weight is None else self.weight
        a = _softmax(held.vectors @ w, starts, owner)
        return unit(np.add.reduceat(a[:, None] * held.vectors, starts, axis=0))

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Inner products."""
        return np.asarray(queries @ items.T)


def _softmax(z: np.ndarray, starts: np.ndarray, owner: np.ndarray) -> np.ndarray:
    e = np.exp(z - np.maximum.reduceat(z, starts)[owner])
    return e / np.add.reduceat(e, starts)[owner]


@dataclass(frozen=True)
class Gaussians:
    """A set of parts as a normal distribution; ``score = −KL(N(μ_q, σ_q²) ‖ N(μ_x, σ_x²))``.

    With diagonal variances,
    ``−KL = ½ Σ_c [1 + log σ_q² − log σ_x² − σ_q²/σ_x² − (μ_q − μ_x)²/σ_x²]``, which is one inner
    product of ``(1, σ_q² + μ_q², μ_q, ½ Σ (1 + log σ_q²))`` and
    ``(−½ Σ (log σ_x² + μ_x²/σ_x²), −½/σ_x², μ_x/σ_x², 1)``, exactly: any index of inner products
    serves it.

    Mean and variance are those of the parts, the variance shrunk towards that of all parts of the
    gallery: ``(m s² + prior · s₀²) / (m + prior)`` for m parts; a query shrinks towards the same.

    Parameters
    ----------
    prior : weight of ``s₀²``, in parts.

    References
    ----------
    Zamani and Bendersky 2023 (zamani2023mrl), who train an encoder to give mean and variance.
    """

    prior: Annotated[float, Search(0.1, 100.0, log=True)] = 4.0
    shared: np.ndarray | None = field(default=None, compare=False)
    reads: ClassVar[str] = "parts"

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "Gaussians":
        """Take the variance of all parts of the items."""
        spread = unit_parts(items).vectors.var(axis=0)
        return replace(self, shared=np.maximum(spread, 1e-8))

    def moments(self, x: Several) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance ``[n, d]`` of each set.

        Raises
        ------
        ConjoinError : nothing is fitted.
        """
        if self.shared is None:
            raise ConjoinError("gaussians", "know no shared variance", "call fit first")
        held = unit_parts(x)
        starts, counts = held.offsets[:-1], np.diff(held.offsets)[:, None]
        mean = np.add.reduceat(held.vectors, starts, axis=0) / counts
        apart = held.vectors - np.repeat(mean, counts[:, 0], axis=0)
        scatter = np.add.reduceat(apart**2, starts, axis=0)
        return mean, (scatter + self.prior * self.shared) / (counts + self.prior)

    def queries(self, x: Several) -> np.ndarray:
        """``[q, 2 d + 2]``."""
        return as_query(*self.moments(x))

    def items(self, x: Several) -> np.ndarray:
        """``[n, 2 d + 2]``."""
        return as_item(*self.moments(x))

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Negative divergences."""
        return np.asarray(queries @ items.T)


def as_query(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """A distribution as the first of the two factors of −KL."""
    own = 0.5 * (1 + np.log(variance)).sum(axis=1, keepdims=True)
    return np.concatenate([np.ones_like(own), variance + mean**2, mean, own], axis=1)


def as_item(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """A distribution as the second of the two factors of −KL."""
    own = -0.5 * (np.log(variance) + mean**2 / variance).sum(axis=1, keepdims=True)
    return np.concatenate([own, -0.5 / variance, mean / variance, np.ones_like(own)], axis=1)


@dataclass(frozen=True)
class Ensemble:
    """Encoders' vectors side by side: ``[√w_1 unit(x_1), …]``; ``score = Σ_e w_e cos(q_e, x_e)``.

    Weights are shares, ``Σ w = 1``; equal where not given, so that no encoder counts by its width
    or its scale. An encoder of weight 0 changes nothing.

    Parameters
    ----------
    weights : ``(encoder, weight)`` couples.

    References
    ----------
    Wang et al. 2022 (wang2022v2l) put the descriptors of many models together for retrieval.
    """

    weights: tuple[tuple[str, float], ...] = ()
    reads: ClassVar[str] = "encoders"

    def fit(self, queries: Several, items: Several, *, seed: int = 0) -> "Ensemble":
        """Nothing is learned."""
        return self

    def queries(self, x: Several) -> np.ndarray:
        """Side by side."""
        return self._joined(x)

    def items(self, x: Several) -> np.ndarray:
        """Side by side."""
        return self._joined(x)

    def _joined(self, x: Several) -> np.ndarray:
        if isinstance(x, Tokens):
            raise ConjoinError("ensemble", "is given parts", "give vectors by encoder")
        given = dict(self.weights) or dict.fromkeys(x, 1.0)
        total = sum(given.get(name, 0.0) for name in x)
        if total <= 0 or min(given.values()) < 0:
            raise ConjoinError("ensemble.weights", f"{given}", "give one above 0, none below")
        shares = {name: given.get(name, 0.0) / total for name in x}
        parts = [np.sqrt(shares[n]) * unit(np.asarray(v, np.float64)) for n, v in x.items()]
        return np.concatenate(parts, axis=1)

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Inner products."""
        return np.asarray(queries @ items.T)


def mean_of(x: Several) -> np.ndarray:
    """The mean of each set, to length 1."""
    held = sets(x)
    return unit(np.add.reduceat(np.asarray(held.vectors, np.float64), held.offsets[:-1], axis=0))


def sets(x: Several) -> Tokens:
    """Token sets, refusing what is none and sets that are empty."""
    if not isinstance(x, Tokens):
        raise ConjoinError("parts", "are vectors by encoder", "give token sets")
    if len(x) and np.diff(x.offsets).min() < 1:
        raise ConjoinError("parts", "an item has none", "leave it out")
    return x


def unit_parts(x: Several) -> Tokens:
    """The sets with every part at length 1, in float64."""
    held = sets(x)
    return Tokens(unit(np.asarray(held.vectors, dtype=np.float64)), held.offsets)


def one_each(space: Space, method: MultiVector) -> Space:
    """A space of one vector an item, in a frame of its own, where the method gives one.

    Raises
    ------
    ConjoinError : the method keeps several vectors an item, as the index does by itself.
    """
    ids, held = parts_of_items(space)
    vectors = method.items(held)
    if isinstance(vectors, Tokens):
        raise ConjoinError("aggregation", "keeps every part", "index the parts as they are")
    recipe = {"of": space.frame.id, "method": digest(repr(method).encode())}
    frame = Frame.mint("aggregate", f"one each of {space.frame.label}", vectors.shape[1], recipe,
                       score="dot")  # fmt: skip
    return Space(ids, vectors.astype(np.float32), frame)
