"""How well vectors tell classes or find their partners, on which verdicts on encoders rest."""

import numpy as np

from conjoin.project.models.tuning_data import K, Material
from conjoin.selection.heads import choose_head
from conjoin.spaces.frame import unit
from conjoin.transfer.linear_heads import RidgeRegressor

#: Strengths among which a ridge map is chosen.
LAMS = (0.03, 0.3, 3.0)


def score_rows(
    made: Material, x: np.ndarray, train: np.ndarray, test: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """``[m]`` right or wrong of each row of ``test``, by the best head or map of these vectors.

    Parameters
    ----------
    x : ``[n, d]`` vectors of the material's cells.
    train, test : places of rows fitted to and asked; head or map is chosen inside ``train``.
    """
    if made.classes is not None:
        found = choose_head(x[train], made.classes[train], groups=made.groups[train], seed=seed)
        return np.asarray(found.head.predict(x[test]) == made.classes[test], np.float64)
    z = np.asarray(made.partners)
    look = np.isin(made.groups[train], made.groups[made.look])
    learn, inside = train[~look], train[look]

    def inner(lam: float) -> float:
        if not look.any():
            return 0.0
        own = RidgeRegressor(lam).fit(x[learn], z[learn])
        return float(hits(own.predict(x[inside]), z[inside]).mean())

    whole = RidgeRegressor(max(LAMS, key=inner)).fit(x[train], z[train])
    return hits(whole.predict(x[test]), z[test])


def hits(asked: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """``[n]`` whether row i of the gallery is among the first :data:`K` that row i asks for."""
    scores = unit(np.asarray(asked, np.float32)) @ unit(np.asarray(gallery, np.float32)).T
    own = scores[np.arange(len(scores)), np.arange(len(scores))]
    return ((scores > own[:, None]).sum(axis=1) < K).astype(np.float64)
