"""When to refuse: two gates, learnt from the questions that a document's structure asks."""

from dataclasses import dataclass

import numpy as np

#: Share of answerable questions that both gates together keep, and that the first may lose.
KEPT, FIRST = 0.95, 0.01
#: What coverage counts beside the cosine in the first gate: a question has words that its answer
#: has not, which the headings that the gates are fitted on do not show.
COVERED = 0.25
#: Least deviation that a feature is divided by: where all headings stand whole in their sections,
#: half a question that does not would lie a million deviations away.
SPREAD = 0.05
FEATURES = ("best", "gap", "covered", "cover gap", "cosine", "cosine gap")


def list_features(total: np.ndarray, covered: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """What the shape of one list says, ``[6]``: see :data:`FEATURES`.

    Parameters
    ----------
    total : mixed score of each passage, ``[n]``.
    covered : share of the question each passage covers.
    cosine : similarity of each passage; zeros where there are no vectors.
    """
    order = np.argsort(-total, kind="stable")
    first, rest = order[:3], order[3:13]
    behind = rest if len(rest) else order[-1:]
    return np.array([
        total[first[0]], total[first[0]] - total[behind].mean(),
        covered[first].max(), covered[first].max() - covered[behind].mean(),
        cosine[first].max(), cosine[first].max() - cosine[behind].mean(),
    ])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Gates:
    """First whether anything is like the question, then whether a passage answers it.

    The first gate scores how far the best coverage and cosine are from those of answerable
    questions, in their standard deviations, coverage at a quarter; the second is a logistic
    regression of lists with the answer against the same lists with the answer taken out. The
    first loses a hundredth of the answerable, the second what is left of ``1 − kept``.
    """

    mean: np.ndarray
    scale: np.ndarray
    unlike: float
    weights: np.ndarray
    near: float

    @classmethod
    def fit(cls, answered: np.ndarray, removed: np.ndarray, kept: float = KEPT) -> "Gates":
        """From features ``[n, 6]`` of lists with their answer and of the same without it."""
        from sklearn.linear_model import LogisticRegression

        mean, scale = answered.mean(0), np.maximum(answered.std(0), SPREAD)
        x = np.concatenate([answered, removed])
        y = np.repeat([1, 0], [len(answered), len(removed)])
        model = LogisticRegression(C=1.0, max_iter=1000).fit((x - mean) / scale, y)
        weights = np.append(model.coef_[0], model.intercept_[0])
        made = cls(mean, scale, 0.0, weights, 0.0)
        first, second = made.scores(answered)
        unlike, near = np.quantile(first, FIRST), np.quantile(second, 1 - kept - FIRST)
        return cls(mean, scale, float(unlike), weights, float(near))

    def scores(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Likeness and the log-odds that a passage answers, ``[n]`` each."""
        z = (np.atleast_2d(features) - self.mean) / self.scale
        return COVERED * z[:, 2] + z[:, 4], z @ self.weights[:-1] + self.weights[-1]

    def cause(self, features: np.ndarray) -> str:
        """``unlike``, ``near``, or nothing where the question may be answered."""
        first, second = self.scores(features)
        if first[0] < self.unlike:
            return "unlike"
        return "near" if second[0] < self.near else ""
