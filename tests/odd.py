"""Odd things given at public edges, and what else than one line of ours comes out of them.

Run as a program it tries the edges of heads, students, fusions and choices without the checks of
types that tests turn on, and prints what escaped.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import conjoin
from conjoin.errors import ConjoinError

ODD = [
    None, "x", b"x", 3, float("nan"), [], {}, set(), object(), [None] * 24, ["a"] * 24,
    [pd.NA] * 24, [[1], [2, 3]], np.zeros((0, 4)), np.zeros((24, 0)), np.full((24, 4), np.nan),
    np.full((24, 4), np.inf), np.ones((24, 4)), np.ones((24, 4), dtype=object),
    np.array([["a"] * 4] * 24), np.zeros((24, 4, 2)), np.zeros(24), np.ones((5, 4)),
    pd.DataFrame({"a": [1, 2], "who": "a"}), pd.Series([1, 2]), np.ones((24, 4), dtype=complex),
    np.array([10**400] * 24, dtype=object), [{"a": 1}] * 24, lambda: 1, np.full((24, 4), 1e300),
    np.array(["2020-01-01"] * 24, dtype="datetime64[D]"),
]  # fmt: skip


def escaped(edges, odd=tuple(ODD), alright=()):
    """What came out of edges besides a value or one line: name, what was given, what came."""
    found = []
    for name, call in edges.items():
        for one in odd:
            try:
                given = one() if callable(one) and one.__name__ == "fresh" else one
                out = call(given)
            except ConjoinError as error:
                if "\n" in str(error) or str(error).count("; ") < 1:
                    found.append((name, repr(one)[:60], f"not one line: {error}"))
            except alright:
                pass
            except Exception as error:
                found.append((name, repr(one)[:60], repr(error)[:200]))
            else:
                if isinstance(out, np.ndarray) and out.dtype.kind == "f" and np.isnan(out).any():
                    found.append((name, repr(one)[:60], "NaN"))
    return found


def fresh():
    """A generator of rows."""
    return (row for row in np.ones((24, 4)).tolist())


#: Besides: rows and labels as people have them.
MORE = [
    fresh, {"a": [1, 2]}, [["a", None]] * 24, np.ones((24, 2)), np.arange(24), [1, "a"] * 12,
    [True, False] * 12, [1 + 2j] * 24, 10**30, [10**30] * 24, -1, 2.5, True, ("a", "b"),
    np.full((24, 4), 1e30, dtype=np.float32), np.full((24, 4), 1e-30), [np.nan, *[1.0] * 23],
    np.random.default_rng(0).normal(size=(24, 4)) * 1e200, [b"a", b"b"] * 12, [[1, 2]] * 24,
    [("a", "b")] * 24, Path("gone"), range(24), np.arange(24) * 1e300, [np.inf, *range(23)],
]  # fmt: skip


def _heads(x, y, names):
    """Every head, its rows, labels, weights and prototypes; and what is fitted of it."""
    from conjoin.catalogue import of_kind

    edges = {}
    for name, row in of_kind("head").items():
        if row.cost == "trained":
            continue
        head = row.make()
        kept = names if head.prototypes != "unused" else None
        right = y if head.answers == "classes" else y.astype(float)
        fitted = head.fit(x, right, prototypes=kept)
        edges |= {
            f"{name} x": lambda one, head=head, right=right, kept=kept: head.fit(
                one, right, prototypes=kept).predict(x),
            f"{name} y": lambda one, head=head, kept=kept: head.fit(
                x, one, prototypes=kept).predict(x),
            f"{name} names": lambda one, head=head, right=right: head.fit(
                x, right, prototypes=one).predict(x),
            f"{name} predict": fitted.predict,
        }  # fmt: skip
        if head.answers == "classes":
            edges[f"{name} score x"] = lambda one, fitted=fitted: fitted.score(one, y)
            edges[f"{name} score y"] = lambda one, fitted=fitted: fitted.score(x, one)
        if name in ("logistic", "ridge-classifier", "ridge-regressor", "nearest-mean", "majority"):
            edges[f"{name} weight"] = lambda one, head=head, right=right: head.fit(
                x, right, weight=one).predict(x)  # fmt: skip
    return edges


def _transfer(x, y, names):
    """Choosing, curves, students and estimators."""
    lesson = conjoin.Lesson.of(x, y)
    few = {"shots": [2], "method": "nearest-mean"}
    fitted = conjoin.HeadClassifier().fit(x, y)
    numbers = conjoin.HeadRegressor().fit(x, x[:, 0])
    edges = {
        "Prototypes labels": lambda one: conjoin.Prototypes(one, np.ones((24, 4))),
        "Prototypes vectors": lambda one: conjoin.Prototypes(["a"] * 24, one),
        "Prototypes.of": conjoin.Prototypes.of,
        "Prototypes.of rows": lambda one: conjoin.Prototypes.of({"a": one, "b": [1.0, 0, 0, 0]}),
        "Lesson x": lambda one: conjoin.Lesson.of(one, y),
        "Lesson y": lambda one: conjoin.Lesson.of(x, one),
        "Lesson groups": lambda one: conjoin.Lesson.of(x, y, groups=one),
        "Lesson names": lambda one: conjoin.Lesson.of(x, y, one),
        "few_shot train": lambda one: conjoin.few_shot(one, lesson, **few),
        "few_shot test": lambda one: conjoin.few_shot(lesson, one, **few),
        "few_shot shots": lambda one: conjoin.few_shot(
            lesson, lesson, shots=one, method="majority"
        ),
        "few_shot method": lambda one: conjoin.few_shot(lesson, lesson, **{**few, "method": one}),
        "few_shot reject": lambda one: conjoin.few_shot(lesson, lesson, reject=one, **few),
        "few_shot seed": lambda one: conjoin.few_shot(lesson, lesson, seed=one, **few),
        "load_head": conjoin.load_head,
    }
    choose = {"x": x, "y": y, "method": "nearest-mean"}
    for name in ("x", "y", "prototypes", "groups", "method", "seed"):
        edges[f"choose_head {name}"] = lambda one, name=name: conjoin.choose_head(
            **{**choose, name: one})  # fmt: skip
    distill = {"x": x, "teachers": x, "method": "ridge-student"}
    for name in ("x", "teachers", "y", "groups", "method", "seed"):
        edges[f"distill {name}"] = lambda one, name=name: conjoin.distill(
            **{**distill, name: one}).map.apply(x)  # fmt: skip
    edges["distill similarities"] = lambda one: conjoin.distill(
        x, conjoin.Similarities(one), method="ridge-student")  # fmt: skip
    for made, right, was in (
        (conjoin.HeadClassifier, y, fitted), (conjoin.HeadRegressor, x[:, 0], numbers),
    ):  # fmt: skip
        who = made.__name__
        edges |= {
            f"{who} X": lambda one, made=made, right=right: made().fit(one, right).predict(x),
            f"{who} y": lambda one, made=made: made().fit(x, one).predict(x),
            f"{who} weight": lambda one, made=made, right=right: made().fit(
                x, right, sample_weight=one).predict(x),
            f"{who} predict": was.predict,
            f"{who} score": lambda one, was=was: was.score(one, one),
        }  # fmt: skip
        for name in ("method", "params", "seed"):
            edges[f"{who} {name}"] = lambda one, made=made, right=right, name=name: made(
                **{name: one}).fit(x, right)  # fmt: skip
    edges["HeadClassifier proba"] = fitted.predict_proba
    edges["HeadClassifier decision"] = fitted.decision_function
    edges["HeadClassifier names"] = lambda one: conjoin.HeadClassifier("cross-modal").fit(x, y, one)
    return edges


def _fusions(x, y):
    """Fusing, fusions by name, and the estimator."""
    from conjoin.catalogue import find

    views, edges = {"a": x, "b": x[::-1]}, {}
    plain = {"views": views, "labels": y, "method": "late", "budget": 1.0}
    for name in ("views", "labels", "present", "groups", "held", "method", "budget", "seed"):
        edges[f"fuse {name}"] = lambda one, name=name: conjoin.fuse(**{**plain, name: one})
    edges["fuse view"] = lambda one: conjoin.fuse(**{**plain, "views": {"a": one, "b": x}})
    edges["fuse mask"] = lambda one: conjoin.fuse(**plain, present={"a": one})
    for method in ("late", "concat", "imputed-logistic", "boosted-trees"):
        made = find("fusion", method).make()
        fused = made.fit(views, {}, labels=y)
        edges |= {
            f"{method} views": lambda one, made=made: made.fit(one, {}, labels=y),
            f"{method} view": lambda one, made=made: made.fit({"a": one}, {}, labels=y),
            f"{method} present": lambda one, made=made: made.fit(views, one, labels=y),
            f"{method} labels": lambda one, made=made: made.fit(views, {}, labels=one),
            f"{method} weight": lambda one, made=made: made.fit(views, {}, labels=y, weight=one),
            f"{method} predict": lambda one, fused=fused: fused.predict(one, {}),
            f"{method} scores": lambda one, fused=fused: fused.scores({"a": one}, {}),
            f"{method} trust": lambda one, fused=fused: fused.trust(views, {"a": one}),
        }
    parted = {"a": [0, 1], "b": [2, 3]}
    for how, kept, given in (("by name", None, views), ("parted", parted, x), ("one", None, x)):
        made = lambda kept=kept, **more: conjoin.FusionEstimator(**{"views": kept, **more})  # noqa: E731
        was = made().fit(given, y)
        edges |= {
            f"estimator {how} X": lambda one, made=made: made().fit(one, y),
            f"estimator {how} y": lambda one, made=made, given=given: made().fit(given, one),
            f"estimator {how} numbers": lambda one, made=made, given=given: made(
                task="numbers").fit(given, one).predict(given),
            f"estimator {how} weight": lambda one, made=made, given=given: made().fit(
                given, y, one),
            f"estimator {how} predict": was.predict,
            f"estimator {how} score": lambda one, was=was, given=given: was.score(given, one),
            f"estimator {how} score weight": lambda one, was=was, given=given: was.score(
                given, y, one),
        }  # fmt: skip
        for name in ("method", "fields", "seed", "views", "task"):
            edges[f"estimator {how} {name}"] = lambda one, made=made, given=given, name=name: made(
                **{name: one}).fit(given, y)  # fmt: skip
    edges["estimator view"] = lambda one: conjoin.FusionEstimator().fit({"a": one, "b": x}, y)
    edges["Fused.load"] = conjoin.Fused.load
    return edges


def _choices(x):
    """Choosing an aligner, comparing and forecasting."""
    from conjoin.alignment.choice import Choice
    from conjoin.retrieval.evaluation import TestBed

    spaces = {name: conjoin.Space.of(x, name=name) for name in "ab"}
    pairs = conjoin.Pairs.by_id(spaces)
    bed = TestBed(spaces, pairs.take(np.arange(24) < 20), pairs.take(np.arange(24) >= 20),
                  {name: np.arange(20, 24) for name in "ab"})  # fmt: skip
    own = {"spaces": spaces, "pairs": pairs, "hubs": ["a"], "methods": ["identity"], "budget": 0.1}
    edges = {}
    for name in (*own, "seed"):
        edges[f"by_validation {name}"] = lambda one, name=name: conjoin.by_validation(
            **{**own, name: one})  # fmt: skip
    edges["by_validation space"] = lambda one: conjoin.by_validation(
        **{**own, "spaces": {"a": one, "b": spaces["b"]}})  # fmt: skip
    placed = {"bed": bed, "hubs": ["a"], "families": ["none such"], "budget": 0.1}
    for name in (*placed, "seed"):
        edges[f"compare {name}"] = lambda one, name=name: conjoin.compare(**{**placed, name: one})
    curve = {"bed": bed, "choice": Choice.of("identity", "a")}
    for name in (*curve, "more", "count", "seed"):
        edges[f"forecast {name}"] = lambda one, name=name: conjoin.forecast(**{**curve, name: one})
    return edges


def main():
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    x = np.random.default_rng(0).normal(size=(24, 4))
    y = np.arange(24) % 2
    names = conjoin.Prototypes.of({0: x[0], 1: x[1]})
    parts = {
        "heads": lambda: _heads(x, y, names), "transfer": lambda: _transfer(x, y, names),
        "fusions": lambda: _fusions(x, y), "choices": lambda: _choices(x),
    }  # fmt: skip
    found = []
    for part in sys.argv[1:] or parts:
        found += escaped(parts[part](), (*ODD, *MORE))
    print(*found, sep="\n", end="")
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
