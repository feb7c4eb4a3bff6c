"""A linear head with a margin: the support vector machine."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.spaces.frame import unit
from conjoin.transfer.base import Prototypes, check_labels, check_rows, known_classes
from conjoin.transfer.heads import Linear
from conjoin.transfer.linear_heads import temperature

#: Steps of the solver at most, and the relative change at which it ends.
STEPS, CHANGE = 2000, 1e-6


@dataclass(frozen=True)
class LinearMargin:
    """One class against all others, by a squared hinge on rows at unit length.

    ``min over w, b of ½ (|w|² + b²) + C Σᵢ max(0, 1 − tᵢ (w · x̂ᵢ + b))²`` for each class, with
    ``t = 1`` on its rows and ``−1`` elsewhere. The answer is the class of the largest
    ``w · x̂ + b``. Probabilities divide these by the temperature that makes the training rows
    likeliest, so they are too sure on new rows; the answers do not depend on it.

    Parameters
    ----------
    c : C; large trusts the rows.

    References
    ----------
    Razavian et al. 2014 (razavian2014offtheshelf), whose features are at unit length and whose
    rows are augmented; solved by liblinear, Fan et al. 2008 (fan2008liblinear).
    """

    c: Annotated[float, Search(1e-3, 1e3, log=True)] = 1.0
    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Linear:
        """A linear head.

        Raises
        ------
        ConjoinError : rows are not finite, labels are missing or of one class.
        """
        from sklearn.svm import LinearSVC

        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        owner = np.searchsorted(classes, labels)
        made = LinearSVC(C=self.c, dual=False, tol=CHANGE, max_iter=STEPS, random_state=0)
        solved = made.fit(unit(rows.astype(np.float64)), owner)
        slope, bias = solved.coef_.T, solved.intercept_
        if len(classes) == 2:
            slope, bias = np.concatenate([-slope, slope], axis=1), np.concatenate([-bias, bias])
        t = temperature(unit(rows.astype(np.float64)) @ slope + bias, owner)
        return Linear(classes, slope / t, bias / t, unit=True)
