"""Fusions without a network: one linear head a view, or one over all views side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.fusion.backend import NumpyOps, softmax
from conjoin.fusion.inputs import Inputs, Table
from conjoin.fusion.model import Fused, Out, likelihood, standardised
from conjoin.fusion.target import Target
from conjoin.maps.standardise import Standardise
from conjoin.spaces.given import labels_of, trust_of
from conjoin.storage.digest import stable_hash

#: Numbers a design may hold in memory; a larger one is read again at every step.
HELD = 2**25
#: Steps of the solver at most; over a design that is read again, and the share of the loss by
#: which the last of these must still improve it.
STEPS, AGAIN, GAIN = 200, 12, 1e-5
#: Change of a held design's loss, as a share of it, and largest slope, at which the solver stops.
CHANGE, SLOPE = 1e-9, 1e-4
#: Folds by which views are put in order, and items of them at most.
FOLDS, ORDERED = 3, 2_000

Head = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Late:
    """One linear head a view, and a mean of what they say.

    The head of view m minimises ``Σ w · loss / Σ w + lam |W|² / 2`` on the items that have it, the
    loss being the negative log-likelihood of a softmax, or half the squared error of a number. A
    decision is ``p = Σ u_m p_m`` over the views that are present, ``Σ u_m = 1``:

    - ``even``: ``u_m = 1 / k``.
    - ``best``: all on the present view that predicts best on folds of the training items, by its
      log-likelihood over that of the class shares.
    - ``entropy``: ``u_m ∝ exp(−H(p_m) / temperature)``.

    Numbers know ``even`` and ``best`` only.

    Parameters
    ----------
    lam : pull of the weights towards zero, on standardised coordinates.
    weigh : the rule.
    temperature : of ``entropy``.

    References
    ----------
    Even means as uni-modal ensemble: Du et al. 2023 (du2023umt). Entropy: Simons et al. 2023
    (simons2023summit), who weigh pseudo-labels by ``exp(−H)``. Their other rule, to keep the
    pseudo-labels that views agree on, chooses what a network is trained on and changes no decision.
    """

    lam: Annotated[float, Search(1e-6, 10.0, log=True)] = 1e-2
    weigh: Annotated[str, Choice(("even", "best", "entropy"))] = "even"
    temperature: Annotated[float, Search(0.05, 5.0, log=True)] = 0.5

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> Fused:
        """Fit a head a view; see :class:`~conjoin.fusion.model.Fusion`."""
        inputs, target, y, w = prepared(views, present, labels, weight)
        if target.classes is None and self.weigh not in ("even", "best"):
            raise ConjoinError(
                "weigh", f"{self.weigh!r} weighs classes", "take 'even' or 'best' for numbers"
            )
        scalers = {name: inputs.scaler(name, w) for name in inputs.names}
        heads = {
            name: self._head(inputs, name, scalers[name], target, (y, w)) for name in inputs.names
        }
        order = tuple(range(len(inputs.names)))
        if self.weigh == "best" and len(order) > 1:
            skill = [
                self._skill(inputs, name, scalers[name], target, (y, w), seed)
                for name in inputs.names
            ]
            order = tuple(int(i) for i in np.argsort(-np.array(skill), kind="stable"))
        body = LateBody(heads, self.weigh, self.temperature, order, target.classes is None)
        return Fused("late", target, scalers, body)

    def _head(
        self, inputs: Inputs, name: str, scaler: Standardise, target: Target,
        truth: tuple[np.ndarray, np.ndarray], lines: np.ndarray | None = None,
    ) -> Head:  # fmt: skip
        own = inputs.here[:, inputs.names.index(name)]
        lines = np.flatnonzero(own) if lines is None else lines[own[lines]]
        y, w = (part[lines] for part in truth)

        def design(at: np.ndarray) -> np.ndarray:
            return standardised(inputs, lines[at], {name: scaler})[name]

        return solve(design, y, w, target, self.lam)

    def _skill(
        self, inputs: Inputs, name: str, scaler: Standardise, target: Target,
        truth: tuple[np.ndarray, np.ndarray], seed: int,
    ) -> float:  # fmt: skip
        """Mean log-likelihood on held-out folds, over that of knowing the shares only."""
        lines = np.flatnonzero(inputs.here[:, inputs.names.index(name)])
        rng = np.random.default_rng([seed, stable_hash("order")])
        if len(lines) > ORDERED:
            lines = np.sort(rng.choice(lines, ORDERED, replace=False))
        fold = rng.permutation(len(lines)) % FOLDS
        gains = []
        for number in range(FOLDS):
            held, learn = lines[fold == number], lines[fold != number]
            if not len(held) or not len(learn):
                continue
            head = self._head(inputs, name, scaler, target, truth, learn)
            x = standardised(inputs, held, {name: scaler})[name]
            labels = truth[0][held]
            gains.append(_likelihood(target, x @ head[0] + head[1], labels))
            gains[-1] = gains[-1] - _likelihood(target, _prior(target, len(held)), labels)
        return float(np.concatenate(gains).mean()) if gains else 0.0


@dataclass(frozen=True)
class Concat:
    """One linear head over all views side by side, what is absent being filled in.

    ``s = [x₁ … x_M, a] W + b`` with standardised ``x_m``. With ``fill="mean"`` an absent row is
    the mean of the training rows, with ``"zero"`` a row of zeros as it would be stored. With
    ``indicator``, ``a_m`` is 1 where view m is absent: a head can then learn what absence tells,
    which holds only as long as things stay absent for the same reasons.

    Parameters
    ----------
    lam : pull of the weights towards zero.
    fill : what stands for an absent row.
    indicator : whether the head sees what is absent.

    References
    ----------
    Early fusion; missing-indicator method: the plain baselines.
    """

    lam: Annotated[float, Search(1e-6, 10.0, log=True)] = 1e-2
    fill: Annotated[str, Choice(("mean", "zero"))] = "mean"
    indicator: bool = True

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> Fused:
        """Fit one head; see :class:`~conjoin.fusion.model.Fusion`."""
        inputs, target, y, w = prepared(views, present, labels, weight)
        scalers = {name: inputs.scaler(name, w) for name in inputs.names}
        fills = {
            name: -s.shift * s.scale if self.fill == "zero" else np.zeros_like(s.shift)
            for name, s in scalers.items()
        }

        def design(at: np.ndarray) -> np.ndarray:
            rows = standardised(inputs, at, scalers)
            return beside(rows, inputs.here[at], fills, self.indicator)

        head = solve(design, y, w, target, self.lam)
        return Fused("concat", target, scalers, ConcatBody(head, fills, self.indicator))


@dataclass(frozen=True, eq=False)
class LateBody:
    """Heads by view and the rule that weighs them.

    Parameters
    ----------
    order : places of the views, best first.
    numbers : whether heads say numbers.
    """

    heads: Mapping[str, Head]
    weigh: str
    temperature: float
    order: tuple[int, ...]
    numbers: bool
    name = "late"

    def block(self, rows: Mapping[str, np.ndarray], here: np.ndarray) -> Out:
        """The mean of what the present heads say."""
        said = np.stack([rows[n] @ head[0] + head[1] for n, head in self.heads.items()], axis=1)
        if not self.numbers:
            said = softmax(NumpyOps, said)
        weights = self._weights(said, here)
        mixed = (said * weights[:, :, None]).sum(axis=1)
        return Out(mixed, mixed if self.numbers else np.log(mixed + 1e-12), weights)

    def _weights(self, said: np.ndarray, here: np.ndarray) -> np.ndarray:
        mask = here.astype(said.dtype)
        even = mask / mask.sum(axis=1, keepdims=True)
        if self.weigh == "best":
            rank = np.empty(len(self.order), int)
            rank[list(self.order)] = np.arange(len(self.order))
            best = np.where(here, rank, len(rank)).argmin(axis=1)
            return np.eye(len(rank), dtype=said.dtype)[best]
        if self.weigh == "entropy":
            entropy = -(said * np.log(said + 1e-12)).sum(axis=2)
            return softmax(NumpyOps, -entropy / self.temperature, here)
        return even

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The rule and the heads, numbered."""
        arrays = {}
        for place, (weight, bias) in enumerate(self.heads.values()):
            arrays[f"{place}.weight"], arrays[f"{place}.bias"] = weight, bias
        fields = {
            "names": list(self.heads), "weigh": self.weigh, "temperature": self.temperature,
            "order": list(self.order), "numbers": self.numbers,
        }  # fmt: skip
        return fields, arrays

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "LateBody":
        """Read back :meth:`state`."""
        heads = {
            name: (arrays[f"{k}.weight"], arrays[f"{k}.bias"])
            for k, name in enumerate(fields["names"])
        }
        return cls(
            heads, fields["weigh"], fields["temperature"], tuple(fields["order"]),
            bool(fields["numbers"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ConcatBody:
    """A head over all views and what fills an absent one."""

    head: Head
    fills: Mapping[str, np.ndarray]
    indicator: bool
    name = "concat"

    def block(self, rows: Mapping[str, np.ndarray], here: np.ndarray) -> Out:
        """The filled row, and its scores."""
        x = beside(rows, here, self.fills, self.indicator)
        return Out(x, x @ self.head[0] + self.head[1], None)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head and the fillings, numbered."""
        arrays = {f"{place}.fill": fill for place, fill in enumerate(self.fills.values())}
        arrays |= {"weight": self.head[0], "bias": self.head[1]}
        return {"names": list(self.fills), "indicator": self.indicator}, arrays

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "ConcatBody":
        """Read back :meth:`state`."""
        fills = {name: arrays[f"{k}.fill"] for k, name in enumerate(fields["names"])}
        return cls((arrays["weight"], arrays["bias"]), fills, bool(fields["indicator"]))


def beside(
    rows: Mapping[str, np.ndarray], here: np.ndarray, fills: Mapping[str, np.ndarray],
    indicator: bool,
) -> np.ndarray:  # fmt: skip
    """Views side by side, absent rows filled; with what is absent as 0 and 1 behind them."""
    parts = [
        np.where(here[:, place, None], rows[name], fill)
        for place, (name, fill) in enumerate(fills.items())
    ]
    if indicator:
        parts.append((~here).astype(np.float32))
    return np.concatenate(parts, axis=1)


def prepared(
    views: Mapping[str, Table],
    present: Mapping[str, np.ndarray],
    labels: Any,
    weight: np.ndarray | None,
) -> tuple[Inputs, Target, np.ndarray, np.ndarray]:
    """Inputs, target, encoded labels and weights, all checked.

    Raises
    ------
    ConjoinError : anything is wrong with them.
    """
    inputs = Inputs.of(views, present)
    if labels is None:
        raise ConjoinError("labels", "none", "give one an item")
    labels = labels_of(labels, "labels", len(inputs))
    trust = trust_of(weight, "weight", len(inputs))
    target = Target.of(labels, trust)
    return inputs, target, target.encode(labels), trust


def solve(
    design: Callable[[np.ndarray], np.ndarray], y: np.ndarray, w: np.ndarray, target: Target,
    lam: float,
) -> Head:  # fmt: skip
    """The head that minimises weighted loss and ``lam |W|² / 2``, read block by block.

    A design of more than :data:`HELD` numbers is never held. Its classes start from the head of as
    many rows as can be, drawn at random, and a few steps over all rows follow.

    Parameters
    ----------
    design : rows ``[b, p]`` at these places.
    """
    width = design(np.arange(min(1, len(y)))).shape[1]
    share = w / w.sum()
    if target.classes is None:
        return _ridge(_Design(design, np.arange(len(y)), width), y, share, width, lam)
    start = np.zeros((width + 1, target.width))
    start[-1] = np.log(np.maximum(target.prior, 1e-9))
    if len(y) * width > HELD:
        rng = np.random.default_rng(stable_hash("first rows"))
        some = np.sort(rng.choice(len(y), max(1, HELD // width), replace=False))
        first = _Design(design, some, width)
        start = _softmax(first, y, share / share[some].sum(), start, lam, (STEPS, GAIN))
        how = (AGAIN, GAIN)
    else:
        how = (STEPS, CHANGE)
    both = _softmax(_Design(design, np.arange(len(y)), width), y, share, start, lam, how)
    return both[:-1].astype(np.float32), both[-1].astype(np.float32)


class _Design:
    """Blocks of rows, held where they are few.

    Parameters
    ----------
    make : rows ``[b, p]`` at these places.
    places : which are wanted.
    """

    def __init__(self, make: Callable[[np.ndarray], np.ndarray], places: np.ndarray, width: int):
        from conjoin.fusion.inputs import BLOCK

        self.make = make
        self.held = len(places) * width <= HELD
        self.parts = [places[s : s + BLOCK] for s in range(0, len(places), BLOCK)]
        self.kept = [make(at) for at in self.parts] if self.held else None

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, at in enumerate(self.parts):
            yield at, self.make(at) if self.kept is None else self.kept[number]


def _ridge(blocks: _Design, y: np.ndarray, share: np.ndarray, width: int, lam: float) -> Head:
    gram, cross = np.zeros((width + 1, width + 1)), np.zeros(width + 1)
    # Sums over blocks are float64; within a block of what is not held float32 is as good.
    kind = np.float64 if blocks.held else np.float32
    for at, x in blocks:
        full = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(kind)
        gram += (full * share[at, None].astype(kind)).T @ full
        cross += full.T @ (share[at] * y[at])
    gram[np.arange(width), np.arange(width)] += lam
    found = np.linalg.solve(gram + 1e-12 * np.eye(width + 1), cross)
    return found[:-1, None].astype(np.float32), found[-1:].astype(np.float32)


def _softmax(
    blocks: _Design, y: np.ndarray, share: np.ndarray, start: np.ndarray, lam: float,
    how: tuple[int, float],
) -> np.ndarray:  # fmt: skip
    """Weights with the biases below them; ``how`` is steps at most and when to stop before."""
    from scipy.optimize import minimize

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = flat.reshape(start.shape)
        weight, bias = both[:-1].astype(np.float32), both[-1]
        value, slope = 0.5 * lam * float((both[:-1] ** 2).sum()), np.zeros_like(both)
        slope[:-1] = lam * both[:-1]
        for at, x in blocks:
            p = softmax(NumpyOps, (x @ weight).astype(np.float64) + bias)
            right = p[np.arange(len(at)), y[at]]
            value -= float(share[at] @ np.log(np.maximum(right, 1e-300)))
            p[np.arange(len(at)), y[at]] -= 1
            p *= share[at, None]
            slope[:-1] += x.T @ p.astype(np.float32)
            slope[-1] += p.sum(axis=0)
        return value, slope.ravel()

    options = {"maxiter": how[0], "maxcor": 10, "ftol": how[1], "gtol": SLOPE}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(start.shape))


def _prior(target: Target, count: int) -> np.ndarray:
    if target.classes is None:
        return np.zeros((count, 1))
    return np.tile(np.log(np.maximum(target.prior, 1e-9)), (count, 1))


def _likelihood(target: Target, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    if target.classes is None:
        return -((scores[:, 0] - y) ** 2) / 2
    return likelihood(target, scores, np.array(target.classes)[y])
