"""What the measures of ``conjoin benchmark`` say on data that is here.

``pairs``: emoji in pictures, words and speech, bound by CCA; of four items the right one is chosen
in all six directions: mean, consistency, disparity and imbalance. ``suite``: eight tasks of
pictures at 1,000 labels, a linear classifier on EfficientNet's vectors against one on 8 × 8
thumbnails, with ranks. ``integration``: whether products of two views' components predict targets
better than either view and their concatenation: planted, null, motions, UMLS. ``features``:
keywords of emoji told by a linear classifier from pictures, from names and from speech: F1 by what
the keyword is about. ``parts``: questions about drawn shapes by question, by picture, by both.
``languages``: what English names find among pictures, asked in German, French, Spanish, Japanese.
``sentences``: three frozen encoders of texts, each bound to pictures by ridge.
``imagined``: the hue of a drawing told from its name, with or without the picture it evokes.

    OMP_NUM_THREADS=1 python benchmarks/judging.py --write
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from conjoin.alignment.binding import Binding
from conjoin.claims.datasets.registry import open_bench
from conjoin.encoders.columns import embed
from conjoin.evaluation.benchmark import Bench, whole_setting
from conjoin.evaluation.by_shape.base import Arm
from conjoin.evaluation.by_shape.probe import linear_probe
from conjoin.evaluation.formats.base import Cells, Probe
from conjoin.evaluation.published import judge, standings
from conjoin.items import Items
from conjoin.items.bundled import sample_path
from conjoin.metrics.outcomes.importance import ModalityImportance
from conjoin.metrics.outcomes.pairs import GapToText, OrderedPairs
from conjoin.metrics.outcomes.transfer import Integration, KnownTransfer, NormalisedGain
from conjoin.spaces import unit
from conjoin.stats.bootstrap import interval, paired_difference

OUT = Path(__file__).parent / "results/judging.json"
OPTIONS = 4
#: Kinds of keywords; a keyword counts where 15 items or more have it.
FEATURES = {
    "colour": "white red blue green black yellow brown orange purple pink light dark",
    "form": "square heart arrow circle star ball button geometric triangle round cross",
    "body and face": "face hand eyes eye mouth smile smiling hair finger arm teeth tears",
    "kind of thing": "animal bird fruit plant food drink tool clothing building car vehicle insect",
    "feeling": "happy sad love emotion angry cold romance celebration laugh cry surprised",
    "use and place": "sport game music weather money religion office travel space computer ocean",
}


def pairs() -> dict[str, float]:
    """Accuracy of choosing one of four over the six directions."""
    bench = open_bench("emoji:image+text+speech")
    setting = whole_setting(bench)
    made = Binding.fit(bench.spaces, setting.train, method="cca", hub="text")
    rows = setting.bed.test.rows
    rows = rows[(rows >= 0).all(axis=1)]
    names = setting.bed.test.names
    bound = {
        name: unit(np.asarray(made.bind(name, bench.spaces[name]).vectors)[rows[:, at]])
        for at, name in enumerate(names)
    }
    rng = np.random.default_rng(0)
    others = np.stack([rng.permutation(len(rows) - 1)[: OPTIONS - 1] for _ in rows])
    others += others >= np.arange(len(rows))[:, None]
    results = {}
    for a in names:
        for b in names:
            if a != b:
                scores = bound[a] @ bound[b].T
                rivals = np.take_along_axis(scores, others, axis=1).max(axis=1)
                results[f"{a}>{b}"] = (np.diag(scores) > rivals).astype(float)
    told = {key: float(values.mean()) for key, values in results.items()}
    asked = {name: results[f"{name}>speech"] for name in ("text", "image")}
    told["gap to text of image, into speech"] = GapToText()(asked)[0].value
    return told | {one.name: one.value for one in OrderedPairs()(results)}


def suite() -> dict[str, Any]:
    """Two representations on eight tasks."""
    results = [judge(task, "class-folders", arms) for task, arms in tasks()]
    told: dict[str, Any] = {}
    for one in results:
        named = {arm.arm: arm.scores[0] for arm in one.arms}
        difference = one.differences[0]
        told[one.task] = {
            **{name: [s.value, s.low, s.high] for name, s in named.items()},
            "difference": [difference.value, difference.low, difference.high],
        }
    told["ranks"] = [vars(one) for one in standings(results)]
    return told


def tasks() -> list[tuple[Probe, list[Arm]]]:
    """Name, labels and the two arms of each task, split by the groups of its data."""
    from pyarrow import parquet

    made = []
    table = parquet.read_table(sample_path(), columns=["id", "noto", "twemoji", "group",
                                                       "subgroup", "family"])  # fmt: skip
    table = table.to_pydict()
    ids = [str(each) for each in table["id"]]
    small = {style: thumbnails(table[column], ids) for style, column in
             (("image", "noto"), ("drawing", "twemoji"))}  # fmt: skip
    bench = open_bench("emoji:image+drawing")
    large = {style: by_id(bench, style) for style in ("image", "drawing")}
    held = {i for i, h in zip(bench.spaces["image"].ids, bench.held("image"), strict=True) if h}
    for style in ("image", "drawing"):
        for label in ("group", "subgroup"):
            labels = dict(zip(ids, table[label], strict=True))
            arms = [arm("efficientnet", large[style]), arm("pixels", small[style])]
            made.append((probe(f"{style} {label}", labels, held), arms))
    both = {f"{style}/{item}": style for style in large for item in ids}
    arms = [arm(name, {f"{style}/{item}": row for style in large for item, row in x[style].items()})
            for name, x in (("efficientnet", large), ("pixels", small))]  # fmt: skip
    made.append((probe("style", both, {f"{style}/{i}" for style in large for i in held}), arms))
    made += shapes()
    made.append(digits())
    return made


def shapes() -> list[tuple[Probe, list[Arm]]]:
    """Colour and shape of easy-vqa's pictures, as its own questions tell them."""
    bench = open_bench("easy-vqa:image+pixels")
    known = ("circle", "rectangle", "triangle")
    answers: dict[str, set[str]] = {}
    for item, answer in bench.labels.items():
        if answer not in ("yes", "no"):
            answers.setdefault(bench.groups[item], set()).add(answer)
    rows = {
        view: {bench.groups[str(i)]: x for i, x in zip(s.ids, np.asarray(s.vectors), strict=True)}
        for view, s in bench.spaces.items()
    }
    arms = [arm("efficientnet", rows["image"]), arm("pixels", rows["pixels"])]
    held = {bench.groups[str(i)] for i, h in
            zip(bench.spaces["image"].ids, bench.held("image"), strict=True) if h}  # fmt: skip
    found = []
    for name, wanted in (("shape", True), ("colour", False)):
        labels = {at: word for at, words in answers.items() for word in words
                  if (word in known) is wanted}  # fmt: skip
        found.append((probe(f"drawn {name}", labels, held), arms))
    return found


def digits() -> tuple[Probe, list[Arm]]:
    """Handwritten digits as pictures."""
    from io import BytesIO

    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    cells = []
    for picture in data.images:
        file = BytesIO()
        Image.fromarray((picture * 15.9).astype(np.uint8)).resize((64, 64)).save(file, "PNG")
        cells.append(file.getvalue())
    ids = [str(i) for i in range(len(cells))]
    items = Items.from_frame({"id": ids, "picture": cells}, id="id")
    space = embed(items, "builtin:image", "picture", strict=True)
    rows = dict(zip(map(str, space.ids), np.asarray(space.vectors), strict=True))
    pixels = dict(zip(ids, data.images.reshape(len(ids), -1), strict=True))
    labels = dict(zip(ids, map(str, data.target), strict=True))
    arms = [arm("efficientnet", rows), arm("pixels", pixels)]
    return probe("digits", labels, set(ids[1000:])), arms


def probe(name: str, labels: Mapping[str, str], held: set[str]) -> Probe:
    """Classes that stand on both sides of the split."""
    sides = [[i for i in labels if (i in held) is h] for h in (False, True)]
    shared = set.intersection(*({labels[i] for i in side} for side in sides))
    train, test = ({i: i for i in side if labels[i] in shared} for side in sides)
    return Probe(name, Cells("image", train), Cells("image", test), dict(labels))


def arm(name: str, rows: Mapping[str, np.ndarray]) -> Arm:
    """Vectors by id."""
    return Arm(name, lambda cells: np.stack([rows[item] for item in cells.values]))


def by_id(bench: Bench, view: str) -> dict[str, np.ndarray]:
    """A view's rows by item."""
    space = bench.spaces[view]
    return dict(zip(map(str, space.ids), np.asarray(space.vectors), strict=True))


def thumbnails(pictures: list[bytes], ids: list[str]) -> dict[str, np.ndarray]:
    """8 × 8 pixels on white."""
    from io import BytesIO

    from PIL import Image

    rows = {}
    for item, data in zip(ids, pictures, strict=True):
        with Image.open(BytesIO(data)) as picture:
            whole = Image.new("RGBA", picture.size, "white")
            whole.alpha_composite(picture.convert("RGBA"))
        small = whole.convert("RGB").resize((8, 8), Image.Resampling.BOX)
        rows[item] = np.asarray(small, dtype=np.float32).ravel()
    return rows


def integration() -> dict[str, Any]:
    """Planted and null data of 400 rows and 40 targets, then motions and UMLS."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 6))
    sums = (x @ rng.normal(size=(6, 40)) + y @ rng.normal(size=(6, 40))) / 3
    products = np.einsum("ni,nj->nij", x, y).reshape(400, -1) @ rng.normal(size=(36, 40)) / 6
    noise = rng.normal(size=(400, 40))
    told = {"planted": integrated(x, y, sums + products + noise),
            "null": integrated(x, y, sums + noise)}  # fmt: skip
    motions = open_bench("motions:acceleration+rotation")
    ids = [str(i) for i in motions.spaces["acceleration"].ids]
    classes = sorted(set(motions.labels.values()))
    wanted = np.array([[motions.labels[i] == c for c in classes] for i in ids], dtype=float)
    told["motions"] = integrated(*(reduced(motions, n, ids) for n in motions.spaces), wanted)
    umls = open_bench("umls:subject+object+name")
    shared = set.intersection(*(set(map(str, s.ids)) for s in umls.spaces.values()))
    ids = sorted(shared)
    rows = by_id(umls, "object")
    counts = np.stack([rows[i] for i in ids])
    counts = counts[:, (counts > 0).sum(axis=0) >= 10]
    told["umls"] = integrated(reduced(umls, "subject", ids), reduced(umls, "name", ids), counts)
    return told


def reduced(bench: Bench, view: str, ids: list[str], most: int = 12) -> np.ndarray:
    """The first principal components of a view, at one scale."""
    rows = by_id(bench, view)
    x = np.stack([rows[i] for i in ids]).astype(float)
    x -= x.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    found = (u * s)[:, :most]
    return found / found[:, 0].std()


def integrated(x: np.ndarray, y: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """The measure on squared errors of held-out rows, five folds, ridge chosen inside each."""
    product = np.einsum("ni,nj->nij", x, y).reshape(len(x), -1)
    features = {"first": x, "second": y, "concatenation": np.hstack([x, y]),
                "joint": np.hstack([x, y, product])}  # fmt: skip
    targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    results = {name: -errors(f, targets).T.ravel() for name, f in features.items()}
    found = {one.name: one.value for one in Integration(each=len(x))(results)}
    means = {name: float(1 + values.mean()) for name, values in results.items()}
    return {**found, "targets": targets.shape[1], "rows": len(x), "r2": means}


def errors(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """``[rows, targets]`` squared errors of rows that were not trained on."""
    fold = np.random.default_rng(1).permutation(len(x)) % 5
    found = np.empty(targets.shape)
    for one in range(5):
        train, test, best = fold != one, fold == one, (np.inf, 1.0)
        inner = np.random.default_rng(2).permutation(train.sum()) % 4
        for alpha in (0.1, 1.0, 10.0, 100.0, 1000.0):
            loss = 0.0
            for part in range(4):
                model = Ridge(alpha).fit(x[train][inner != part], targets[train][inner != part])
                wrong = model.predict(x[train][inner == part]) - targets[train][inner == part]
                loss += float((wrong**2).sum())
            best = min(best, (loss, alpha))
        model = Ridge(best[1]).fit(x[train], targets[train])
        found[test] = (model.predict(x[test]) - targets[test]) ** 2
    return found


def features() -> dict[str, Any]:
    """F1 of a keyword by view, five folds by family, averaged within its kind."""
    from pyarrow import parquet
    from sklearn.metrics import f1_score

    table = parquet.read_table(sample_path(), columns=["id", "keywords"]).to_pydict()
    words = {str(i): set(each or ()) for i, each in zip(table["id"], table["keywords"],
                                                        strict=True)}  # fmt: skip
    bench = open_bench("emoji:image+name+speech")
    views = {view: by_id(bench, view) for view in bench.spaces}
    ids = sorted(set.intersection(*(set(rows) for rows in views.values())))
    families = np.unique([bench.groups[i] for i in ids], return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(families.max() + 1)[families] % 5
    told: dict[str, Any] = {}
    for kind, listed in FEATURES.items():
        for word in listed.split():
            has = np.array([word in words[i] for i in ids])
            if has.sum() < 15:
                continue
            own = told.setdefault(kind, {"keywords": []})
            own["keywords"].append(word)
            for view, rows in views.items():
                x = unit(np.stack([rows[i] for i in ids]).astype(np.float32))
                x = (x - x.mean(axis=0)) / x.std()
                guess = np.zeros(len(ids), dtype=bool)
                for one in range(5):
                    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=200)
                    model.fit(x[fold != one], has[fold != one])
                    guess[fold == one] = model.predict(x[fold == one])
                own.setdefault(view, []).append(float(f1_score(has, guess)))
    for own in told.values():
        own |= {view: float(np.mean(own[view])) for view in views}
    return told


def parts() -> dict[str, Any]:
    """Accuracy by question, by picture and by both, and what each is worth."""
    bench = open_bench("easy-vqa:image+question")
    held = bench.held("image")
    ids = [str(i) for i in bench.spaces["image"].ids]
    right = np.array([bench.labels[i] for i in ids])
    groups = np.array([bench.groups[i] for i in ids])[held]
    views = {name: np.asarray(space.vectors) for name, space in bench.spaces.items()}
    views["image+question"] = np.hstack([views["image"], views["question"]])
    results = {}
    for name, x in views.items():
        x = x - x[~held].mean(axis=0)
        model = LogisticRegression(C=0.1, max_iter=300)
        model.fit(x[~held] / x.std(), right[~held])
        results[name] = (model.predict(x[held] / x.std()) == right[held]).astype(float)
    told: dict[str, Any] = {
        name: [float(v.mean()), *interval(v, groups)] for name, v in results.items()
    }
    measure = ModalityImportance()
    told["importance"] = {
        name: [float(v.mean()), *interval(v, groups)] for name, v in measure.units(results).items()
    }
    labels, counts = np.unique(measure.labels(results), return_counts=True)
    asked = np.array(["yes or no" if a in ("yes", "no") else "colour or shape"
                      for a in right[held]])  # fmt: skip
    told["by question"] = {
        str(kind): {name: float(v[asked == kind].mean()) for name, v in results.items()}
        for kind in np.unique(asked)
    }
    lesson = {"before": results["question"], "after": results["image+question"]}
    told["gain of seeing"] = NormalisedGain()(lesson)[0].value
    told["labels"] = dict(zip(labels.tolist(), (counts / counts.sum()).tolist(), strict=True))
    best = paired_difference(results["image+question"], results["question"], groups)
    told["both over question"] = list(best[:3])
    return told


def languages() -> dict[str, Any]:
    """Whether what English finds among pictures, the first ten, another language finds too."""
    told = {}
    for code in ("de", "fr", "es", "ja"):
        bench = open_bench(f"emoji:image+name+{code}-text")
        setting = whole_setting(bench)
        made = Binding.fit(bench.spaces, setting.train, method="cca", hub="name")
        rows = setting.bed.test.rows
        rows = rows[(rows >= 0).all(axis=1)]
        image, *asked = (
            unit(np.asarray(made.bind(name, bench.spaces[name]).vectors)[rows[:, at]])
            for at, name in enumerate(setting.bed.test.names)
        )
        found = []
        for side in asked:
            scores = side @ image.T
            found.append((scores > np.diag(scores)[:, None]).sum(axis=1) < 10)
        results = {"source": found[0].astype(float), "target": found[1].astype(float)}
        told[code] = {one.name: one.value for one in KnownTransfer()(results)}
        told[code] |= {side: float(values.mean()) for side, values in results.items()}
    return told


def sentences() -> dict[str, Any]:
    """Recall@10 of pictures by frozen vectors of their texts, each encoder bound by ridge."""
    told: dict[str, Any] = {}
    found = {}
    for view in ("text", "static", "characters"):
        bench = open_bench(f"emoji:image+{view}")
        setting = whole_setting(bench)
        made = Binding.fit(bench.spaces, setting.train, method="ridge", hub=view)
        rows = setting.bed.test.rows
        image, text = (
            unit(np.asarray(made.bind(name, bench.spaces[name]).vectors)[rows[:, at]])
            for at, name in enumerate(setting.bed.test.names)
        )
        scores = text @ image.T
        found[view] = ((scores > np.diag(scores)[:, None]).sum(axis=1) < 10).astype(float)
        groups = np.asarray(setting.bed.test.group)
        told[view] = [float(found[view].mean()), *interval(found[view], groups)]
    told["text over static"] = list(paired_difference(found["text"], found["static"], groups)[:3])
    return told


def imagined() -> dict[str, Any]:
    """The main hue of a drawing told from its name: words alone, or with the picture they evoke.

    The picture evoked is what a ridge from names to pictures, fitted to the training part, makes
    of a name. Hues are six bins of the pixels that have one; drawings of none are left out.
    """
    from colorsys import rgb_to_hsv

    from pyarrow import parquet

    table = parquet.read_table(sample_path(), columns=["id", "noto"]).to_pydict()
    ids = [str(each) for each in table["id"]]
    hues = {}
    for item, row in thumbnails(table["noto"], ids).items():
        told = [rgb_to_hsv(*pixel) for pixel in row.reshape(-1, 3) / 255]
        bins = [int(h * 6 + 0.5) % 6 for h, s, v in told if s > 0.3 and v > 0.2]
        if len(bins) >= 6:
            hues[item] = np.bincount(bins).argmax()
    bench = open_bench("emoji:image+name")
    names, pictures = by_id(bench, "name"), by_id(bench, "image")
    held = {i: h for i, h in zip(bench.spaces["name"].ids, bench.held("name"), strict=True)}
    kept = [i for i in hues if i in names]
    test = np.array([held[i] for i in kept])
    x, y = (np.stack([rows[i] for i in kept]) for rows in (names, pictures))
    evoked = Ridge(1.0).fit(x[~test], y[~test]).predict(x)
    label = np.array([hues[i] for i in kept])
    groups = np.array([bench.groups[i] for i in kept])[test]
    views = {"words": x, "words+evoked": np.hstack([x / x.std(), evoked / evoked.std()]),
             "picture": y}  # fmt: skip
    right = {name: linear_probe(v[~test], label[~test], v[test]) == label[test]
             for name, v in views.items()}  # fmt: skip
    found: dict[str, Any] = {name: float(v.mean()) for name, v in right.items()}
    often = np.bincount(label[~test]).argmax()
    found |= {"most frequent hue": float((label[test] == often).mean()), "test": int(test.sum())}
    apart = paired_difference(right["words+evoked"], right["words"], groups)
    return found | {"evoked over words": list(apart[:3])}


def main() -> None:
    """Run the parts named, all by default."""
    known = {"pairs": pairs, "suite": suite, "integration": integration, "features": features,
             "parts": parts, "languages": languages, "imagined": imagined,
             "sentences": sentences}  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(known))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    old = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in given.names:
        old[name] = known[name]()
        print(json.dumps({name: old[name]}, indent=1, ensure_ascii=False), flush=True)
        if given.write:
            OUT.write_text(json.dumps(old, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
