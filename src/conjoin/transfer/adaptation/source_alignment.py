"""Labelled source rows moved, or weighed, to look like the target's; then a head of their own."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, optional
from conjoin.maps.base import Affine
from conjoin.transfer.adaptation.base import Source, check_source, check_target
from conjoin.transfer.adaptation.fitted import Moved
from conjoin.transfer.heads import Linear
from conjoin.transfer.logistic import Logistic

#: By our name, what skada calls it.
ALIGNERS = {
    "coral": "CORALAdapter", "subspace": "SubspaceAlignmentAdapter",
    "transport": "OTMappingAdapter", "linear-transport": "LinearOTMappingAdapter",
    "class-transport": "ClassRegularizerOTMappingAdapter",
}  # fmt: skip
WEIGHERS = {
    "kernel-mean": "KMMReweightAdapter", "gaussian": "GaussianReweightAdapter",
    "discriminator": "DiscriminatorReweightAdapter",
}  # fmt: skip
#: Added to the covariances of a linear transport, in units of the mean variance.
REG = 1e-2


@dataclass(frozen=True)
class AlignedSource:
    """``min CE(A(x_s); y_s) + λ/2 |W|²``: the source taken to the target by skada, and fitted anew.

    Rows of both are first reduced to the ``dims`` principal directions of both together. What
    skada makes of the target has to be an affine map of it, so that new rows can be asked.

    Parameters
    ----------
    method : ``coral``, ``subspace``, ``transport`` (exact optimal transport, barycentric),
        ``class-transport`` (with a group penalty on the source's classes) or
        ``linear-transport``.
    dims : principal directions kept.
    lam : λ of the logistic regression, as there.

    References
    ----------
    Lalou et al. 2024 (lalou2024skada); Courty et al. 2017 (courty2017otda), Fernando et
    al. 2013 (fernando2013subspace).
    """

    method: Annotated[str, Choice(tuple(ALIGNERS))] = "transport"
    dims: Annotated[int, Search(2, 1024, log=True)] = 96
    lam: Annotated[float, Search(1e-4, 10.0, log=True)] = 0.03
    reads: ClassVar[str] = "labels"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Moved:
        """A linear head behind an affine map.

        Raises
        ------
        ConjoinError : the adapted target is no affine map of the target.
        """
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], self.method)
        fewest = min(len(given.x), len(rows)) - 1
        few = _principal(given.x, rows, min(int(self.dims), fewest))
        here, there = few.apply(given.x), few.apply(rows)
        made = _skada(ALIGNERS[self.method]).fit_transform(*_together(here, there, given.y))
        moved, asked = np.asarray(made[: len(here)]), np.asarray(made[len(here) :])
        step = _affine_between(there, asked)
        head = Logistic(lam=self.lam, standardise=False).fit(moved, given.y)
        whole = Affine(few.weight @ step.weight, few.shift, step.apply(few.bias[None])[0])  # type: ignore[operator]
        return Moved(head, whole)


def _affine_between(x: np.ndarray, y: np.ndarray) -> Affine:
    """The affine map that takes ``x`` to ``y``, where one does."""
    centre = x.mean(axis=0)
    slope = np.linalg.lstsq(x - centre, y - y.mean(axis=0), rcond=None)[0]
    found = Affine(slope, centre, y.mean(axis=0))
    off = np.abs(found.apply(x) - y).max() / max(float(np.abs(y).max()), 1e-12)
    if off > 1e-3:
        raise ConjoinError("target", "is moved by no affine map", "take another method")
    return found


@dataclass(frozen=True)
class WeighedSource:
    """``min Σ w_i CE(x_i; y_i) + λ/2 |W|²``: source rows count by how like the target they are.

    The weights are skada's, on the ``dims`` principal directions of both; the head is fitted to
    whole rows.

    Parameters
    ----------
    method : ``kernel-mean`` (matching in a kernel's space), ``gaussian`` or ``discriminator``
        (a ratio of densities).
    dims : principal directions looked at.
    lam : λ of the logistic regression, as there.

    References
    ----------
    Lalou et al. 2024 (lalou2024skada); Huang et al. 2006 (huang2006kmm).
    """

    method: Annotated[str, Choice(tuple(WEIGHERS))] = "kernel-mean"
    dims: Annotated[int, Search(2, 1024, log=True)] = 32
    lam: Annotated[float, Search(1e-4, 10.0, log=True)] = 0.03
    reads: ClassVar[str] = "labels"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Linear:
        """A linear head."""
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], self.method)
        few = _principal(given.x, rows, int(self.dims))
        x, y, domain = _together(few.apply(given.x), few.apply(rows), given.y)
        made = _skada(WEIGHERS[self.method]).fit_transform(x, y, domain)
        weight = np.asarray(made[1]["sample_weight"], np.float64)[: len(given.x)]
        weight = np.maximum(weight, 1e-6 * max(float(weight.max()), 1e-12))
        head = Logistic(lam=self.lam, standardise=False)
        return head.fit(given.x, given.y, weight=weight / weight.mean())


@dataclass(frozen=True, eq=False)
class _Quiet:
    """An adapter of skada whose warnings about its own defaults are kept from the user."""

    inner: Any

    def fit_transform(self, x: np.ndarray, y: np.ndarray, domain: np.ndarray) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.inner.fit_transform(x, y, sample_domain=domain)


def _skada(name: str) -> _Quiet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(optional("skada", "adapt"), name)
        # Without it the map between near-singular covariances is not a number.
        return _Quiet(made(reg=REG) if name == "LinearOTMappingAdapter" else made())


def _together(
    here: np.ndarray, there: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both parts as skada reads them: source labelled from 0 and domain 1, target −1 and −2."""
    owner = np.unique(y, return_inverse=True)[1].reshape(-1)
    labels = np.concatenate([owner, np.full(len(there), -1)])
    domain = np.concatenate([np.full(len(here), 1), np.full(len(there), -2)])
    return np.concatenate([here, there]), labels, domain


def _principal(here: np.ndarray, there: np.ndarray, dims: int) -> Affine:
    """The map onto the principal directions of both parts together."""
    both = np.concatenate([here, there]).astype(np.float64)
    centre = both.mean(axis=0)
    values, vectors = np.linalg.eigh((both - centre).T @ (both - centre) / len(both))
    real = int((values > 1e-10 * max(values[-1], 1e-300)).sum())
    kept = vectors[:, ::-1][:, : max(1, min(dims, real, len(both) - 1))]
    # Variance 1 on average: what the regularisations inside are in units of.
    size = np.sqrt(max(float(values[::-1][: kept.shape[1]].mean()), 1e-300))
    return Affine(kept / size, centre, np.zeros(kept.shape[1]))
