"""What is missing, what there is too much of, and the scripts and lengths of texts."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.quality.curation import ClusterCap, EntryCap
from conjoin.quality.finding import KINDS, Finding
from conjoin.quality.inputs import FEWEST, Case
from conjoin.quality.languages import SHARED, WITHOUT, installed, languages
from conjoin.quality.outliers import robust
from conjoin.stats.bootstrap import holm
from conjoin.storage.digest import stable_hash

#: Draws of a permutation test.
DRAWS = 999
#: Values that a label column may have.
VALUES = 50
#: Times by which the largest entry must exceed the median one to be told.
HEAVY = 5.0
#: Share of the texts up to which a script is a minority.
MINOR = 0.05
#: What an entry is called where no column says it.
CLUSTERS = "clusters"
#: Items listed of a finding about many.
LISTED = 50


def missing(case: Case) -> tuple[list[Finding], dict[str, Any]]:
    """Cells that are missing or failed, and whether that goes with a label.

    A label column is tested by permuting which items lack the cell: whole groups change places,
    the statistic is ``G = 2 Σ O log(O / E)`` over the table of label and missing, and p-values
    are corrected over all tests (Holm). Confidence is one less that p-value.
    """
    found, facts, tests = [], {}, []
    ids = np.array([str(item) for item in case.items])
    for name, space in case.spaces.items():
        lacks = ~np.isin(ids, space.ids.astype(str))
        failed = case.failed.get(name, {})
        facts[name] = {"missing": int(lacks.sum()), "failed": len(failed), "of": len(ids)}
        if failed:
            why = Counter(failed.values()).most_common(3)
            evidence = {"because": "could not be embedded", "count": len(failed),
                        "reasons": [{"reason": r, "count": c} for r, c in why]}  # fmt: skip
            found.append(Finding("missing", tuple(list(failed)[:LISTED]), name, 1.0, None,
                                 evidence, KINDS["missing"]))  # fmt: skip
        gone = [item for item in ids[lacks].tolist() if item not in failed]
        if gone:
            evidence = {"because": "no cell", "count": len(gone), "of": len(ids)}
            found.append(Finding("missing", tuple(gone[:LISTED]), name, 1.0, None, evidence,
                                 KINDS["missing"]))  # fmt: skip
        if 0 < lacks.sum() < len(ids):
            tests += [(name, column, lacks) for column in labels(case)]
    return found + _predicted(case, tests), facts


def labels(case: Case) -> list[str]:
    """Columns that were named, else those with a few values that each come more than once."""
    if case.labels:
        return list(case.labels)
    told = []
    for name, values in case.columns.items():
        counts = Counter(str(v) for v in values if isinstance(v, str | int | bool))
        if 2 <= len(counts) <= VALUES and np.median(list(counts.values())) >= 2:
            told.append(name)
    return told


def _predicted(case: Case, tests: list[tuple[str, str, np.ndarray]]) -> list[Finding]:
    if not tests:
        return []
    groups = np.array([case.group(str(item)) for item in case.items])
    seen = [
        permuted(case.columns[column], lacks, groups, seed=case.seed) for _, column, lacks in tests
    ]
    adjusted = holm(np.array([p for _, p in seen]))
    found = []
    for (name, column, lacks), (_, p), told in zip(tests, seen, adjusted, strict=True):
        if told >= 0.05:
            continue
        values = np.array([str(v) for v in case.columns[column]])
        share = {
            str(value): round(float(lacks[values == value].mean()), 3)
            for value in np.unique(values)
        }
        evidence = {"because": "missing goes with a label", "column": column,
                    "p": round(float(p), 4), "p_corrected": round(float(told), 4),
                    "missing_by_value": share}  # fmt: skip
        found.append(Finding("missing", (), name, 1 - float(told), None, evidence,
                             "read results of each value apart; fill the cells, or do not let "
                             "a model see which are missing"))  # fmt: skip
    return found


def permuted(
    values: Sequence[Any], lacks: np.ndarray, groups: np.ndarray, *, seed: int
) -> tuple[float, float]:
    """The statistic G of label and missing, and its p-value under permutation.

    Groups of one size change places as wholes, so that items that are missing together move
    together.
    """
    _, label = np.unique([str(v) for v in values], return_inverse=True)
    rng = np.random.default_rng([seed, stable_hash("doctor missing")])
    _, owner = np.unique(groups, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(owner))[:-1])
    by_size: dict[int, list[np.ndarray]] = {}
    for part in parts:
        by_size.setdefault(len(part), []).append(part)
    blocks = [np.stack(same) for same in by_size.values()]
    real = _g(label, lacks)
    above = 1
    for _ in range(DRAWS):
        mixed = np.empty_like(lacks)
        for block in blocks:
            mixed[block] = lacks[block[rng.permutation(len(block))]]
        above += _g(label, mixed) >= real - 1e-9
    return real, above / (DRAWS + 1)


def _g(label: np.ndarray, lacks: np.ndarray) -> float:
    table = np.bincount(label * 2 + lacks, minlength=2 * (int(label.max()) + 1)).reshape(-1, 2)
    wanted = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(2 * np.where(table > 0, table * np.log(table / wanted), 0).sum())


def imbalance(case: Case) -> tuple[list[Finding], dict[str, Any]]:
    """Entries of a label column, or clusters of a space, that are far larger than the median.

    The remedy caps labels (:class:`EntryCap`) and clusters (:class:`ClusterCap`) at ``t``, the
    median count; the items that would go are listed. Confidence is
    ``1 - ½ HEAVY · median / largest``: 0.5 where it is just told.
    """
    found, facts = [], {}
    entries = {("", name): _entries(case.columns[name]) for name in labels(case)}
    ids = {("", name): [str(i) for i in case.items] for name in labels(case)}
    for name, view in case.views.items():
        if len(view.first) >= 20 * FEWEST:
            entries[name, CLUSTERS] = [[str(c)] for c in _clusters(case, name)]
            ids[name, CLUSTERS] = [str(view.space.ids[row]) for row in view.first]
    for (modality, column), each in entries.items():
        counts = Counter(entry for some in each for entry in some)
        size = np.array(sorted(counts.values(), reverse=True))
        share = size / size.sum()
        middle = float(np.median(size))
        told = {
            "entries": len(size), "largest": int(size[0]), "median": middle,
            "effective": round(float(np.exp(-(share * np.log(share)).sum())), 1),
        }  # fmt: skip
        facts["+".join(filter(None, (modality, column)))] = told
        if size[0] < HEAVY * middle:
            continue
        cap = ClusterCap if column == CLUSTERS and modality else EntryCap
        kept = cap(max(middle, 1.0)).keep(each, case.seed)
        gone = [i for i, keep in zip(ids[modality, column], kept, strict=True) if not keep]
        evidence = {
            "because": "a few entries hold most", "column": column, **told, "t": middle,
            "curation": "cluster-cap" if cap is ClusterCap else "entry-cap",
            "kept": int(kept.sum()), "dropped": len(gone),
            "most": [{"entry": e, "count": c} for e, c in counts.most_common(5)],
        }  # fmt: skip
        sure = 1 - HEAVY * middle / (2 * size[0])
        found.append(Finding("imbalance", tuple(dict.fromkeys(gone)), modality, float(sure), None,
                             evidence, KINDS["imbalance"]))  # fmt: skip
    return found, facts


def _entries(values: Sequence[Any]) -> list[list[str]]:
    return [[] if v is None else [str(v)] for v in values]


def _clusters(case: Case, name: str) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    view = case.views[name]
    rows = view.reduced[view.first]
    count = int(np.clip(np.sqrt(len(rows) / 2), 2, 200))
    means = MiniBatchKMeans(count, random_state=case.seed, n_init=1, batch_size=1024, max_iter=20)
    return np.asarray(means.fit_predict(rows))


def scripts(text: str) -> Counter[str]:
    """Letters of a text by script, as the first word of their Unicode names says it.

    >>> scripts("naïve кот")
    Counter({'LATIN': 5, 'CYRILLIC': 3})
    """
    return Counter(
        _SCRIPTS.get(word, word)
        for letter in text if letter.isalpha()
        for word in [unicodedata.name(letter, "UNKNOWN").split()[0]]
    )  # fmt: skip


#: One writing system in several blocks, or letters that any may borrow.
_SCRIPTS = {
    "HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK", "FULLWIDTH": "LATIN",
    "HALFWIDTH": "CJK", "MICRO": "GREEK", "FEMININE": "LATIN", "MASCULINE": "LATIN",
    "MODIFIER": "LATIN", "IDEOGRAPHIC": "CJK",
}  # fmt: skip


def language(case: Case) -> tuple[list[Finding], list[Finding], dict[str, Any], list[str]]:
    """Minority scripts and languages, odd lengths, and the mix of all in every modality of texts.

    Languages of one script are told where the library for it is installed; a note says where not.
    """
    mixed, odd, facts, notes = [], [], {}, []
    for name, read in case.texts.items():
        ids, words = [], []
        for item, text in read():
            ids.append(item)
            words.append(text)
        if not words:
            continue
        main = [(scripts(text).most_common(1) or [("none", 0)])[0][0] for text in words]
        counts = Counter(main)
        size = np.array([len(text) for text in words])
        marks = np.quantile(size, [0, 0.05, 0.5, 0.95, 1]).astype(int).tolist()
        facts[name] = {
            "scripts": dict(counts.most_common()), "texts": len(words),
            "characters": dict(zip(("least", "5%", "median", "95%", "most"), marks, strict=True)),
        }  # fmt: skip
        mixed += _minor(name, ids, main, counts)
        odd += _odd(name, ids, size)
        if installed():
            some, told = languages(name, ids, words, main, MINOR, case.seed)
            mixed += some
            facts[name].update(told)
        elif SHARED & set(main):
            notes.append(f"{name}: {WITHOUT}")
    return mixed, odd, facts, notes


def _minor(name: str, ids: list[str], main: list[str], counts: Counter[str]) -> list[Finding]:
    found = []
    for script, count in counts.items():
        if script == "none" or count > MINOR * len(ids) or count == len(ids):
            continue
        items = [item for item, s in zip(ids, main, strict=True) if s == script]
        evidence = {"script": script, "count": count, "share": round(count / len(ids), 4),
                    "most": counts.most_common(1)[0][0]}  # fmt: skip
        found.append(Finding("language", tuple(items), name, 1 - count / len(ids), None, evidence,
                             KINDS["language"]))  # fmt: skip
    return found


def _odd(name: str, ids: list[str], size: np.ndarray) -> list[Finding]:
    """Texts whose logarithm of length lies more than :data:`HEAVY` robust deviations away."""
    apart = robust(np.log1p(size), least=0.1)
    found = []
    for place in np.flatnonzero(np.abs(apart) > HEAVY).tolist():
        evidence = {"characters": int(size[place]), "median": int(np.median(size)),
                    "deviations": round(float(apart[place]), 2)}  # fmt: skip
        sure = float(1 / (1 + np.exp(HEAVY - abs(apart[place]))))
        found.append(Finding("length", (ids[place],), name, sure, None, evidence, KINDS["length"]))
    return found
