"""``fuse`` at its defaults against the plain baseline, where a third of the views is away.

``python benchmarks/fusion_plain.py`` writes ``benchmarks/results/fusion_plain.json``. Each table is
parted into views, and 35 % of these are taken away at random, one an item being left. The baseline
is what most people would write with scikit-learn: means and flags for what is absent, scaling,
logistic regression at C of 0.01, 0.1, 1 and 10, and, up to 64 columns, histogram gradient boosting;
the best mean on folds is fitted to all training items. ``fuse`` has the same training items, folds
and held-out items. Penguins come from ``pip install palmerpenguins``. CPU-seconds of one thread.
"""

import json
import os
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

SEEDS, AWAY, HELD, PULLS, COLUMNS = range(5), 0.35, 0.3, (0.01, 0.1, 1.0, 10.0), 64


def digits(seed: int):
    from sklearn.datasets import load_digits

    from conjoin.claims.datasets.digits_views import VIEWS

    found = load_digits()
    names = ("left", "right", "rows", "gradients")
    return {n: VIEWS[n](found.images).reshape(len(found.target), -1) for n in names}, found.target


def penguins(seed: int):
    from palmerpenguins import load_penguins

    table = load_penguins().dropna(subset=["bill_length_mm"])
    who = np.stack([
        *((table["island"] == each) for each in ("Biscoe", "Dream", "Torgersen")),
        *((table["sex"] == each) for each in ("female", "male")),
    ], axis=1).astype(float)  # fmt: skip
    views = {
        "bill": table[["bill_length_mm", "bill_depth_mm"]].to_numpy(float),
        "body": table[["flipper_length_mm", "body_mass_g"]].to_numpy(float), "who": who,
    }  # fmt: skip
    return views, table["species"].to_numpy().astype(str)


def wine(seed: int):
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    return {"acids": x[:, :5], "phenols": x[:, 5:9], "colours": x[:, 9:]}, y


def cancer(seed: int):
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return {"mean": x[:, :10], "error": x[:, 10:20], "worst": x[:, 20:]}, y


def planted(seed: int):
    """Classes that each of three views of 128 columns tells in part, linearly."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, 25_000)
    views = {}
    for view in ("a", "b", "c"):
        centres = rng.normal(size=(10, 128)) * 0.28
        views[view] = (centres[y] + rng.normal(size=(len(y), 128))).astype(np.float32)
    return views, y


TABLES = {"digits": digits, "penguins": penguins, "wine": wine, "cancer": cancer}
LARGE = {"planted": planted}


def taken(views: dict, seed: int, share: float) -> np.ndarray:
    """What is left when a share of the views is taken away, one an item at least."""
    rng = np.random.default_rng([seed, 1])
    draw = rng.random((len(next(iter(views.values()))), len(views)))
    here = draw >= share
    here[np.arange(len(here)), draw.argmax(axis=1)] = True
    return here


def plain(views, here, y, learn, held, folds) -> dict:
    """The baseline: what was chosen, how it does, and what it took."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate(
        [np.where(here[:, k, None], v, np.nan) for k, v in enumerate(views.values())], axis=1
    )

    def made(name: str):
        if name == "boosted":
            return HistGradientBoostingClassifier(random_state=0)
        imputed = SimpleImputer(add_indicator=True, keep_empty_features=True)
        return make_pipeline(
            imputed, StandardScaler(), LogisticRegression(C=float(name), max_iter=2000)
        )

    def scored(name: str) -> float:
        marks = []
        for number in folds.numbers:
            inside, out = folds.train(number), folds.lines[folds.fold == number]
            marks.append((made(name).fit(x[inside], y[inside]).predict(x[out]) == y[out]).mean())
        return float(np.mean(marks))

    clock = time.process_time()
    marks = {str(pull): scored(str(pull)) for pull in PULLS}
    logistic = max(marks, key=marks.get)
    fitted = made(logistic).fit(x[learn], y[learn])
    took = time.process_time() - clock
    if x.shape[1] <= COLUMNS:
        marks["boosted"] = scored("boosted")
    best = max(marks, key=marks.get)
    if best != logistic:
        fitted = made(best).fit(x[learn], y[learn])
    whole = time.process_time() - clock
    value = float((fitted.predict(x[held]) == y[held]).mean())
    return {"plain": best, "plain_folds": marks[best], "plain_value": value,
            "logistic_seconds": took, "plain_seconds": whole}  # fmt: skip


def once(name: str, table, seed: int, share: float, held_share: float) -> dict:
    """Both on one draw."""
    from conjoin.fusion.inputs import Inputs
    from conjoin.selection.fusion import Fusing

    views, y = table(seed)
    here = taken(views, seed, share)
    side = np.random.default_rng([seed, 2]).random(len(y)) < held_share
    present = {n: here[:, k] for k, n in enumerate(views)}
    clock, wall = time.process_time(), time.perf_counter()
    job = Fusing(Inputs.of(views, present), y, None, side, seed)
    found = job.run("auto", 60.0)
    took, wall = time.process_time() - clock, time.perf_counter() - wall
    arms = {arm.method: arm for arm in found.arms}
    own = plain(views, here, y, np.flatnonzero(~side), np.flatnonzero(side), job.folds)
    use = found.fused.method
    return {
        "table": name, "seed": seed, "fuse": use, "fuse_folds": arms[use].validation,
        "fuse_value": arms[use].value, "fuse_seconds": took, "fuse_wall": wall,
        "best_single": arms["best-single"].value, **own,
        "difference": arms[use].value - own["plain_value"],
    }  # fmt: skip


def main() -> None:
    import sklearn.ensemble
    import sklearn.impute
    import sklearn.linear_model  # noqa: F401 - loading them is nobody's time

    import conjoin.report.cards.fusion  # noqa: F401

    wanted = sys.argv[1:] or [*TABLES, *LARGE]
    runs = []
    for name in wanted:
        table, share = ({**TABLES, **LARGE})[name], 0.4 if name in LARGE else AWAY
        for seed in SEEDS if name in TABLES else range(3):
            runs.append(once(name, table, seed, share, 0.2 if name in LARGE else HELD))
            one = runs[-1]
            print(f"{name:9} {seed}  fuse {one['fuse']:17} {one['fuse_value']:.3f} in "
                  f"{one['fuse_seconds']:5.2f} s   plain {one['plain']:8} {one['plain_value']:.3f} "
                  f"in {one['plain_seconds']:5.2f} s (logistic {one['logistic_seconds']:5.2f})   "
                  f"{one['difference']:+.4f}", flush=True)  # fmt: skip
    means = {}
    for name in wanted:
        own = [run for run in runs if run["table"] == name]
        mean = {key: float(np.mean([run[key] for run in own])) for key in own[0]
                if isinstance(own[0][key], float)}  # fmt: skip
        mean["times"] = mean["fuse_seconds"] / mean["logistic_seconds"]
        means[name] = {key: round(value, 4) for key, value in mean.items()}
        print(f"{name:9} difference {mean['difference']:+.4f}, {mean['times']:.1f} times the "
              f"logistic regression, {mean['fuse_seconds'] / mean['plain_seconds']:.1f} the whole "
              "baseline")  # fmt: skip
    if sys.argv[1:]:
        return
    facts = {"away": AWAY, "held": HELD, "seeds": len(SEEDS), "threads": 1, "means": means,
             "runs": [{k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()}
                      for run in runs]}  # fmt: skip
    path = Path(__file__).parent / "results" / "fusion_plain.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
