"""A joint space whose views share one centre, so that what is trained on one serves another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Choice, find
from conjoin.maps.base import Affine, Chain, Map, Normalise, stages
from conjoin.spaces import Pairs, Rows
from conjoin.spaces.pairs import ABSENT

#: Rows mapped at a time.
BLOCK = 8192


@dataclass(frozen=True)
class Collapse:
    """A joint space less each view's mean in it: ``y = unit(unit(f(x)) - mean_v + c)``.

    ``f`` is what the aligner ``of`` fits, ``mean_v`` the mean of ``unit(f(x))`` over the pairs of
    view ``v``. With ``to="zero"``, ``c = 0`` (the collapse of Zhang et al. 2024); with
    ``to="hub"``, ``c`` is the first view's mean, which stays where it is and all others are
    shifted onto it (the mean shift of Gu et al. 2023). Views added to frozen ones are shifted
    onto the mean of where these place their partners.

    Parameters
    ----------
    of : name of the aligner that makes the joint space.
    to : where the means go, ``zero`` or ``hub``.
    """

    of: Annotated[str, Choice(("infonce-head", "heads", "cca", "ridge", "procrustes"))] = (
        "infonce-head"
    )
    to: Annotated[str, Choice(("zero", "hub"))] = "zero"

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """The aligner's maps, each followed by its shift.

        Raises
        ------
        ConjoinError : as the aligner ``of``.
        """
        base = find("aligner", self.of).make()
        maps = base.fit(views, pairs, frames=frames, frozen=frozen, seed=seed)
        unit = {n: m if n in frozen else Chain((*stages(m), Normalise())) for n, m in maps.items()}
        fresh = [name for name in maps if name not in frozen]
        means = {name: _mean(unit[name], views[name], pairs, name) for name in fresh}
        made = {}
        for name in fresh:
            centre = np.zeros_like(means[name])
            if frozen:
                centre = _partners(unit, views, pairs, name, list(frozen))
            elif self.to == "hub":
                centre = means[fresh[0]]
            shift = Affine(None, means[name], centre)
            made[name] = Chain((*stages(unit[name]), shift, Normalise()))
        return {name: frozen[name] if name in frozen else made[name] for name in maps}


def _partners(
    maps: Mapping[str, Any], views: Mapping[str, Rows], pairs: Pairs, name: str, frozen: list[str]
) -> np.ndarray:
    """Mean of where frozen views place the partners of a view; of all their pairs if it has none.

    A view may reach the frozen ones through another only.
    """
    here = pairs.column(name) != ABSENT
    for lines in (here, np.ones(len(pairs), dtype=bool)):
        known = [n for n in frozen if (lines & (pairs.column(n) != ABSENT)).any()]
        if known:
            met = pairs.take(np.flatnonzero(lines))
            return np.mean([_mean(maps[n], views[n], met, n) for n in known], axis=0)
    raise AssertionError("an aligner lets no view through that no pair leads to")


def _mean(placed: Any, view: Any, pairs: Pairs, name: str) -> np.ndarray:
    """Weighted mean of a view's paired rows as a map places them, in float32."""
    column = pairs.column(name)
    rows, weight = column[column != ABSENT], pairs.weight[column != ABSENT]
    rows, home = np.unique(rows, return_inverse=True)
    weight = np.bincount(home, weights=weight)
    total: Any = 0.0
    for at in range(0, len(rows), BLOCK):
        part = rows[at : at + BLOCK]
        total = total + weight[at : at + BLOCK] @ placed.apply(np.asarray(view[part]))
    return np.asarray(total / weight.sum(), dtype=np.float32)


__all__ = ["Collapse"]
