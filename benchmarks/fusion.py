"""Fusions against scikit-learn's logistic regression on the views side by side, and on many items.

Times are CPU-seconds of one thread.

``python benchmarks/fusion.py`` prints time to train and to decide, accuracy, and the peak of
resident memory above the interpreter's, each method in a process of its own, with 40 % of the rows
missing at random. ``python benchmarks/fusion.py many`` runs ``fuse`` with a budget of a minute on
memory-mapped views of 384, 1280 and 640 dimensions of 25,000 and 100,000 items, beside one head
over all of them side by side, ours and scikit-learn's: what is held should not grow with the items.
It writes ``benchmarks/results/fusion.json``; with a number of items behind ``many`` it runs these
alone and writes nothing. Held is the peak of anonymous memory above what it was
at first: pages of mapped files, which the system may drop, are not in it.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

VIEWS, WIDTH, CLASSES, ITEMS, TEST = 3, 128, 10, 20_000, 5_000
METHODS = ("sklearn", "late", "concat", "side", "attention", "multimodn", "mbt", "poe")
WIDE, BUDGET = (384, 1280, 640), 60.0
MANY = ("fuse", "late", "concat", "sklearn")


def planted(folder: Path, items: int, widths: tuple[int, ...] = (WIDTH,) * VIEWS) -> None:
    """Views as ``.npy`` files: a class and its neighbours told by each in part."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, items)
    for view, width in enumerate(widths):
        centres = np.random.default_rng(view).normal(size=(CLASSES, width))
        centres *= 0.28 * np.sqrt(WIDTH / width)
        shape = (items, width)
        made = np.lib.format.open_memmap(folder / f"{view}.npy", "w+", np.float32, shape)
        for start in range(0, items, 5000):
            some = label[start : start + 5000]
            made[start : start + 5000] = centres[some] + rng.normal(size=(len(some), width))
        made.flush()
    here = rng.random((items, VIEWS)) > 0.4
    here[~here.any(axis=1), 0] = True
    np.save(folder / "label.npy", label)
    np.save(folder / "here.npy", here)


def opened(folder: Path):
    views = {str(v): np.load(folder / f"{v}.npy", mmap_mode="r") for v in range(VIEWS)}
    return views, np.load(folder / "here.npy"), np.load(folder / "label.npy")


def peak() -> float:
    """Megabytes resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_sklearn(views, here, label):
    from sklearn.linear_model import LogisticRegression

    before = peak()

    def side(lines):
        parts = [np.where(here[lines, k, None], v[lines], 0) for k, v in enumerate(views.values())]
        return np.concatenate(parts, axis=1)

    learn, test = np.arange(TEST, len(label)), np.arange(TEST)
    clock = time.process_time()
    fitted = LogisticRegression(C=1 / (0.01 * len(learn)), max_iter=200).fit(
        side(learn), label[learn]
    )
    trained = time.process_time() - clock
    clock = time.process_time()
    right = (fitted.predict(side(test)) == label[test]).mean()
    return trained, time.process_time() - clock, right, peak() - before


def by_fusion(name, views, here, label):
    from conjoin.catalogue import find
    from conjoin.fusion.inputs import Inputs

    inputs = Inputs(views, here)
    learn, test = inputs.take(np.arange(TEST, len(label))), inputs.take(np.arange(TEST))
    before = peak()
    clock = time.process_time()
    present = {n: learn.here[:, k] for k, n in enumerate(learn.names)}
    fitted = find("fusion", name).make().fit(learn.views, present, labels=label[TEST:])
    trained = time.process_time() - clock
    clock = time.process_time()
    said = fitted.target.decode(fitted.scores_of(test))
    right = (said == label[:TEST].astype(str)).mean()
    return trained, time.process_time() - clock, right, peak() - before


def by_many(folder):
    from conjoin.fusion.inputs import Inputs
    from conjoin.selection.fusion import Fusing

    views, here, label = opened(folder)
    inputs = Inputs(views, here)
    before, clock = peak(), time.process_time()
    found = Fusing(inputs, label, None, None, 0).run("auto", BUDGET)
    value = next(arm.value for arm in found.arms if arm.method == found.fused.method)
    return time.process_time() - clock, 0.0, value, peak() - before


class Watched:
    """Peak of anonymous memory and wall time while something runs."""

    def __enter__(self):
        self.first = self.top = anonymous()
        self.on, self.start = True, time.perf_counter()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while self.on:
            self.top = max(self.top, anonymous())
            time.sleep(0.02)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
        self.wall = time.perf_counter() - self.start


def anonymous() -> float:
    """Megabytes of this process that are no pages of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return peak()


def run(kind: str, folder: Path) -> dict:
    """One method in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "one", kind, str(folder)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def one(kind: str, folder: Path) -> None:
    """Run a method and print what it cost."""
    import sklearn.linear_model  # noqa: F401
    import torch  # noqa: F401 - their own size is not the method's

    import conjoin.selection.fusion  # noqa: F401

    with Watched() as watched:
        if kind == "fuse":
            found = by_many(folder)
        elif kind == "sklearn":
            found = by_sklearn(*opened(folder))
        else:
            found = by_fusion(kind, *opened(folder))
    names = ("train", "decide", "accuracy", "megabytes")
    facts = dict(zip(names, map(float, found), strict=True))
    print(json.dumps({**facts, "held": watched.top - watched.first, "wall": watched.wall}))


def many(sizes: tuple[int, ...], written: bool) -> None:
    """``fuse`` and the plain methods on wide views of many items."""
    found = []
    for items in sizes:
        with tempfile.TemporaryDirectory() as place:
            planted(Path(place), items, WIDE)
            for kind in MANY:
                found.append({"items": items, "method": kind, **run(kind, Path(place))})
                show(f"{kind}, {items} items", found[-1])
    if not written:
        return
    about = {"widths": WIDE, "missing": 0.4, "classes": CLASSES, "budget": BUDGET, "threads": 1}
    path = Path(__file__).parent / "results" / "fusion.json"
    path.write_text(json.dumps({**about, "runs": found}, indent=1) + "\n")


def show(label: str, found: dict) -> None:
    print(
        f"{label:24s} train {found['train']:7.1f} CPU-s ({found['wall']:6.1f} s in all)   decide "
        f"{found['decide']:6.2f} s   accuracy {found['accuracy']:.3f}   held "
        f"{found['held']:6.0f} MB   resident {found['megabytes']:6.0f} MB", flush=True,
    )  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:2] == ["many"]:
        asked = tuple(map(int, sys.argv[2:]))
        many(asked or (25_000, 100_000), not asked)
    else:
        with tempfile.TemporaryDirectory() as place:
            planted(Path(place), ITEMS + TEST)
            for kind in METHODS:
                show(kind, run(kind, Path(place)))


if __name__ == "__main__":
    main()
