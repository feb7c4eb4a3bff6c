"""Merges whose weights follow from the angles between tensors: one number per model and tensor."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.models.merging.base import Models, Part, TensorMerge
from conjoin.models.merging.cuts import largest

#: Cosine above which two tensors are taken for parallel, and mixed linearly.
PARALLEL = 0.9995


@dataclass(frozen=True)
class Weighted(TensorMerge):
    """A weighted sum of base and experts, the weights of each tensor read off its Gram matrix.

    One pass gathers the inner products of all models' tensors, so that whatever happens on a
    sphere or in a plane spanned by them is arithmetic on a matrix of their number.
    """

    exact: ClassVar[str] = "close"

    def look(self, models: Models, name: str, known: Any) -> Any:
        """``[1 + n]`` weights of base and experts."""
        count = 1 + len(models.experts)
        gram = np.zeros((count, count))
        for part in models.parts(name):
            rows = np.stack([part.base, *part.experts])
            gram += rows @ rows.T
        return self.weights(gram)

    def weights(self, gram: np.ndarray) -> np.ndarray:
        """``[1 + n]`` weights from ``[1 + n, 1 + n]`` inner products, the base first."""
        raise NotImplementedError

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The weighted sum."""
        out = np.zeros_like(part.base)
        for weight, values in zip(known, (part.base, *part.experts), strict=True):
            if weight:
                out += weight * values
        return out


@dataclass(frozen=True)
class Slerp(Weighted):
    """On the great circle from the first expert to the second: ``t`` of the angle between them.

    ``sin((1 − t)θ) / sin θ · A + sin(tθ) / sin θ · B``, ``θ`` the angle of the two flattened
    tensors; a straight line where their cosine is above .9995 in size or one of them is 0. The
    base is not looked at.

    Source: Shoemake 1985.
    """

    t: Annotated[float, Search(0.0, 1.0)] = 0.5
    symmetric: ClassVar[bool] = False
    counts: ClassVar[tuple[int, int]] = (2, 2)

    def weights(self, gram: np.ndarray) -> np.ndarray:
        """Of base, first and second."""
        norm = float(np.sqrt(gram[1, 1] * gram[2, 2]))
        cosine = float(np.clip(gram[1, 2] / norm, -1.0, 1.0)) if norm > 0 else 1.0
        if abs(cosine) > PARALLEL or self.t in (0.0, 1.0):
            return np.array([0.0, 1.0 - self.t, self.t])
        angle = np.arccos(cosine)
        first, second = np.sin((1 - self.t) * angle), np.sin(self.t * angle)
        return np.array([0.0, first, second]) / np.sin(angle)


@dataclass(frozen=True)
class Karcher(Weighted):
    """The point of the unit sphere nearest to all experts, at their mean norm.

    Iterates ``u ← exp_u(mean_i log_u(x_i))`` from the direction of their mean; every ``log`` and
    ``exp`` stays in the span of the experts, so the iteration runs on their Gram matrix. One step
    is what merging tools call multi-SLERP.

    Parameters
    ----------
    steps : of the iteration at most; it ends where nothing moves.

    Source: Karcher 1977.
    """

    steps: Annotated[int, Search(1, 200, log=True)] = 100

    def weights(self, gram: np.ndarray) -> np.ndarray:
        """Of base (none) and experts."""
        norms = np.sqrt(np.diag(gram)[1:])
        count = len(norms)
        even = np.full(count, 1.0 / count)
        if not (norms > 0).all():
            return np.concatenate([[0.0], even])
        inner = gram[1:, 1:] / np.outer(norms, norms)
        length = float(np.sqrt(even @ inner @ even))
        if length < 1e-9:  # opposite: every direction between is as near
            return np.concatenate([[0.0], even])
        at = even / length
        for _ in range(self.steps):
            cosine = np.clip(inner @ at, -1.0, 1.0)
            angle = np.arccos(cosine)
            bend = np.where(angle > 1e-9, angle / np.where(angle > 1e-9, np.sin(angle), 1.0), 1.0)
            step = even * bend - at * float(even @ (bend * cosine))
            size = float(np.sqrt(max(0.0, step @ inner @ step)))
            if size < 1e-12:
                break
            at = np.cos(size) * at + np.sin(size) * step / size
        return np.concatenate([[0.0], at / norms * norms.mean()])


@dataclass(frozen=True)
class Stock(Weighted):
    """Between base and mean of the experts, nearer to the base the less the experts agree.

    ``t · mean(experts) + (1 − t) · base``, ``t = n c / (1 + (n − 1) c)``, ``c`` the mean cosine
    of the experts' deltas, by tensor. The paper has one angle; of three or more experts this takes
    the mean over pairs.

    Source: Jang, Yun and Han 2024.
    """

    counts: ClassVar[tuple[int, int]] = (2, 64)

    def look(self, models: Models, name: str, known: Any) -> Any:
        """Weights from inner products of the deltas, which cancel less than those of the models."""
        count = len(models.experts)
        gram = np.zeros((count, count))
        for part in models.parts(name):
            rows = np.stack(part.deltas)
            gram += rows @ rows.T
        return self.weights(gram)

    def weights(self, gram: np.ndarray) -> np.ndarray:
        """Of base and experts, from ``[n, n]`` inner products of deltas."""
        count = len(gram)
        norms = np.sqrt(np.diag(gram))
        scale = np.outer(norms, norms)
        cosines = np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0)
        mean = float(np.clip(cosines[np.triu_indices(count, 1)].mean(), 0.0, 1.0))
        share = count * mean / (1 + (count - 1) * mean)
        return np.concatenate([[1.0 - share], np.full(count, share / count)])


@dataclass(frozen=True)
class SelectCalculateErase(TensorMerge):
    """Where experts differ most, weighted by the energy of what they added there.

    Of each tensor the ``density`` of places with the largest variance over the experts; an
    expert's weight is its mean squared delta there over all experts'; numbers that have not the
    sign of the sum are erased (zeros among them), and the rest averaged by these weights. At
    density 1 every place is kept, also where all experts agree.

    Parameters
    ----------
    density : share of the places of non-zero variance.
    scale : of what is added.

    Source: Wan et al. 2024.
    """

    density: Annotated[float, Search(0.0, 1.0)] = 0.5
    scale: Annotated[float, Search(0.0, 2.0)] = 1.0
    arithmetic: ClassVar[int] = 2

    def look(self, models: Models, name: str, known: Any) -> Any:
        """The cut of variances, and the experts' weights."""

        def stream() -> Any:
            for part in models.parts(name):
                yield part.start, np.var(np.stack(part.deltas), axis=0)

        varied = 0
        if self.density < 1:
            varied = sum(int(np.count_nonzero(values)) for _, values in stream())
        cut = largest(stream, max(1, int(varied * self.density))) if varied else None
        energy = np.zeros(len(models.experts))
        for part in models.parts(name):
            for place, delta in enumerate(self._selected(part, cut)):
                energy[place] += float(delta @ delta)
        total = energy.sum()
        weights = energy / total if total > 0 else np.full(len(energy), 1 / len(energy))
        return cut, weights

    def _selected(self, part: Part, cut: Any) -> list[np.ndarray]:
        if cut is None:
            return part.deltas
        kept = cut.keeps(np.var(np.stack(part.deltas), axis=0), part.start)
        return [np.where(kept, delta, 0.0) for delta in part.deltas]

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The base plus the weighted mean of what was not erased."""
        cut, weights = known
        deltas = self._selected(part, cut)
        sign = np.where(sum(deltas) >= 0, 1.0, -1.0)
        added, weight = np.zeros_like(part.base), np.zeros_like(part.base)
        for share, delta in zip(weights, deltas, strict=True):
            same = np.where(np.sign(delta) == sign, share, 0.0)
            added += same * delta
            weight += same
        return part.base + self.scale * np.divide(
            added, weight, out=np.zeros_like(added), where=weight > 0
        )
