"""When to refuse: two gates, learnt from the questions that a document's structure asks."""

from dataclasses import dataclass

import numpy as np

#: Share of answerable questions that both gates together keep, and that the first may lose.
KEPT, FIRST = 0.95, 0.01
#: What coverage counts beside the cosine in the first gate: a question has words that its answer
#: has not, which the headings that the gates are fitted on do not show.
COVERED = 0.25
#: Share of its words that some passage must hold, or it must be as similar as a usual heading is.
FLOOR = 1 / 3
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


def logistic(x: np.ndarray, y: np.ndarray, c: float = 1.0) -> np.ndarray:
    """Weights ``[f + 1]`` of a logistic regression, the intercept last, by Newton's method.

    ``min_w ½‖w‖² + c Σ_i log(1 + exp(−(2y_i − 1)(w · x_i + b)))``; the intercept ``b`` is not
    penalised. For few features: importing scikit-learn takes longer than an answer may.

    Parameters
    ----------
    x : rows ``[m, f]``.
    y : zeros and ones ``[m]``.
    c : inverse strength of the penalty.
    """
    rows = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.ones(x.shape[1]), 1e-9)
    w = np.zeros(rows.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(rows @ w, -60, 60)))
        slope = c * rows.T @ (p - y) + ridge * w
        curve = c * (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        w -= step / max(1.0, float(np.abs(step).max()) / 4)
        if float(np.abs(step).max()) < 1e-8:
            break
    return w


@dataclass(frozen=True, eq=False)
class Gates:
    """First whether anything is like the question, then whether a passage answers it.

    Unlike anything is a question of which no passage holds a third of the words, where its best
    cosine is below the mean of answerable ones. The first gate scores how far the best coverage
    and cosine are from those of answerable questions, in their standard deviations, coverage at a
    quarter; the second is a logistic
    regression of lists with the answer against the same lists with the answer taken out. The
    first loses a hundredth of the answerable, the second what floor and gate leave of
    ``1 − kept``.
    """

    mean: np.ndarray
    scale: np.ndarray
    unlike: float
    weights: np.ndarray
    near: float

    @classmethod
    def fit(cls, answered: np.ndarray, removed: np.ndarray, kept: float = KEPT) -> "Gates":
        """From features ``[n, 6]`` of lists with their answer and of the same without it."""
        mean, scale = answered.mean(0), np.maximum(answered.std(0), SPREAD)
        x = np.concatenate([answered, removed])
        y = np.repeat([1, 0], [len(answered), len(removed)])
        weights = logistic((x - mean) / scale, y)
        made = cls(mean, scale, 0.0, weights, 0.0)
        first, second = made.scores(answered)
        stand = ~made.strange(answered)
        unlike = np.quantile(first[stand], FIRST) if stand.any() else -np.inf
        left = max(0.0, 1 - kept - FIRST - float((~stand).mean()))
        near = np.quantile(second[stand], left) if left and stand.any() else -np.inf
        return cls(mean, scale, float(unlike), weights, float(near))

    def scores(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Likeness and the log-odds that a passage answers, ``[n]`` each."""
        z = (np.atleast_2d(features) - self.mean) / self.scale
        return COVERED * z[:, 2] + z[:, 4], z @ self.weights[:-1] + self.weights[-1]

    def strange(self, features: np.ndarray) -> np.ndarray:
        """``[n]``: no passage holds a third of the words, and none is as similar as usual."""
        rows = np.atleast_2d(features)
        return np.asarray((rows[:, 2] < FLOOR) & (rows[:, 4] < self.mean[4]))

    def cause(self, features: np.ndarray) -> str:
        """``unlike``, ``near``, or nothing where the question may be answered."""
        first, second = self.scores(features)
        if first[0] < self.unlike or self.strange(features)[0]:
            return "unlike"
        return "near" if second[0] < self.near else ""
