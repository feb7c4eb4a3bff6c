"""The plain fusions on folds, and whether that is enough."""

from collections.abc import Mapping

import numpy as np

from conjoin.alignment.choice import Trial
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.execution.budget import Work
from conjoin.fusion.linear import beside
from conjoin.fusion.model import standardised
from conjoin.fusion.target import Target
from conjoin.selection.fusion_trials import COLUMNS, PLAIN, TREES, FusionFolds, FusionSweep, Job
from conjoin.storage.digest import stable_hash

#: The plain method whose pull is looked for, from its default up and down by factors of ten.
PULLED, FIELD, LEAST, MOST = "imputed-logistic", "C", 1e-3, 1e2
#: A difference of mean credit below which nothing is gained.
NEAR = 0.01
#: Wrong items on folds that a perfect method could not be told from: a sign test of so many
#: differences, all of one sign, still has p > 0.05.
FEW = 5
#: Random features of the probe for what is not linear, and the pulls it is tried at.
FEATURES, PULLS = 256, (1e-2, 1e-1, 1.0)


class PlainFusions:
    """The best single view, the late mean, a logistic regression, and trees for few columns.

    What is tried depends on the items and the seed alone, on no clock.

    Parameters
    ----------
    work : counts what is done.
    untried : methods not tried, and why.
    """

    def __init__(self, job: Job, folds: FusionFolds, work: Work | None = None):
        self.job, self.folds, self.untried = job, folds, dict[str, str]()
        rows = of_kind("fusion")
        self.rows = {name: rows[name] for name in (*PLAIN, TREES)}
        self.others = [name for name in rows if name not in self.rows]
        self.sweeps = {
            n: FusionSweep(r, folds, job.seed, work or Work()) for n, r in self.rows.items()
        }
        self.trials = dict[str, Trial]()

    def run(self) -> dict[str, Trial]:
        """The best trial of each."""
        for name in PLAIN:
            self.job.report(f"{name} on {len(self.folds)} folds")
            self.trials[name] = self._trial(name)
        self.trials[PULLED] = self._pulled()
        self._trees()
        return self.trials

    @property
    def lead(self) -> Trial:
        """The best mean on folds."""
        return max(self.trials.values(), key=lambda t: t.mean)

    @property
    def settled(self) -> bool:
        """Whether methods that take minutes have nothing to win that could be seen.

        So it is where a perfect method could not be told from the leader; where boosted trees were
        tried or had nothing to add, for columns are few; and where a line through the columns does
        as well as one through random features of them besides.
        """
        columns = sum(self.job.inputs.dims().values())
        return columns <= COLUMNS or self._perfect(self.lead) or not self._bent()

    def left_out(self) -> dict[str, str]:
        """Why each other method was not tried."""
        said = "nothing on folds says that more than a line is needed: name it to try it"
        return {**self.untried, **dict.fromkeys(self.others, said)}

    def _trial(self, name: str, fields: Mapping[str, float] | None = None, folds: int | None = None
    ) -> Trial:  # fmt: skip
        return self.sweeps[name].trial({**self.rows[name].settings, **(fields or {})}, "", folds)

    def _pulled(self) -> Trial:
        """From the default, downhill in ``C`` while it is no worse; else up."""
        best = self._trial(PULLED, {FIELD: 1.0})
        for factor in (0.1, 10.0):
            value = factor
            while LEAST <= value <= MOST:
                other = self._trial(PULLED, {FIELD: float(f"{value:.0e}")})
                # A stronger pull wins a tie: it is the simpler head.
                if other.mean < best.mean or (factor > 1 and other.mean == best.mean):
                    break
                best, value = other, value * factor
            if best.fields[FIELD] < 1:
                break
        return best

    def _trees(self) -> None:
        """Boosted trees where columns are few, on one fold; on all unless they fall behind."""
        columns, lead = sum(self.job.inputs.dims().values()), self.lead
        if columns > COLUMNS:
            self.untried[TREES] = f"{columns} columns, more than {COLUMNS}: name it to try it"
            return
        if self._perfect(lead):
            self.untried[TREES] = "plain linear methods leave nothing to win"
            return
        self.job.report(f"{TREES} on a fold")
        try:
            one = self._trial(TREES, folds=1)
            if lead.scores[0] - one.scores[0] > NEAR:
                self.untried[TREES] = (
                    f"behind on the first fold ({one.scores[0]:.3f}, {lead.method} "
                    f"{lead.scores[0]:.3f})"
                )
                return
            self.job.report(f"{TREES} on {len(self.folds)} folds")
            self.trials[TREES] = self._trial(TREES)
        except ConjoinError as error:
            self.untried[TREES] = str(error)

    def _perfect(self, lead: Trial) -> bool:
        """Whether no method could be told from it."""
        count = float(np.isin(self.folds.fold, list(self.folds.numbers)).sum())
        if self.job.labels.dtype.kind == "f":
            return 1 - lead.mean <= NEAR
        return (1 - lead.mean) * count <= FEW

    def _bent(self) -> bool:
        """Whether random features of all columns add to a line through them, on the first fold.

        Ridge regression of the classes on ``x``, and on ``x`` and ``max(x R, 0)``, each at the
        best of a few pulls; the gain must be larger than :data:`NEAR` and two standard errors.
        """
        learn = self.folds.train(0)
        held = self.folds.lines[self.folds.fold == 0]
        own = self.job.inputs.take(learn)
        scalers = {name: own.scaler(name) for name in own.names}
        fills = {name: np.zeros_like(scaler.shift) for name, scaler in scalers.items()}
        rng = np.random.default_rng([self.job.seed, stable_hash("bent")])
        width = sum(map(len, fills.values())) + len(fills)
        mix = rng.normal(size=(width, FEATURES)) / np.sqrt(width)

        def sides(lines: np.ndarray) -> np.ndarray:
            rows = standardised(self.job.inputs, lines, scalers)
            x = beside(rows, self.job.inputs.here[lines], fills, True).astype(np.float64)
            return np.concatenate([x, np.maximum(x @ mix, 0), np.ones((len(x), 1))], axis=1)

        target = Target.of(self.job.labels[learn])
        truth = target.encode(self.job.labels[held], strict=False)
        known = target.encode(self.job.labels[learn])
        y = known[:, None] if target.classes is None else np.eye(target.width)[known]
        x, asked = sides(learn), sides(held)
        best = []
        for kept in (np.r_[:width, width + FEATURES], np.arange(x.shape[1])):
            gram, cross = x[:, kept].T @ x[:, kept] / len(x), x[:, kept].T @ y / len(x)
            found = []
            for pull in PULLS:
                said = asked[:, kept] @ np.linalg.solve(gram + pull * np.eye(len(kept)), cross)
                credit = 1 - (said[:, 0] - truth) ** 2
                found.append(credit if target.classes is None else said.argmax(axis=1) == truth)
            best.append(max(found, key=np.mean).astype(np.float64))
        gain = best[1] - best[0]
        return bool(gain.mean() > max(NEAR, 2 * gain.std() / np.sqrt(len(gain))))
