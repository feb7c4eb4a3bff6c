"""Generation tasks: texts of systems, and texts that know nothing, against references."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from conjoin.catalogue import find
from conjoin.evaluation.by_shape.base import Made
from conjoin.evaluation.formats.base import Generate

#: Metrics of a table of texts, the first for the verdict.
METRICS = ("cider-d", "rouge-l", "unigram-f1", "exact-match", "bleu", "chrf", "distinct-2")
#: Those of texts that were made from others.
EDITED = ("sari", "exact-match", "rouge-l", "bleu", "chrf", "distinct-2")


def generated(task: Generate) -> Iterator[Made]:
    """Every system's texts, beside the most frequent and another item's reference or the source."""
    items = list(task.references)
    often = Counter(t for texts in task.references.values() for t in texts).most_common(1)[0][0]
    other = {
        item: task.references[items[at - 1]][0] for at, item in enumerate(items)
    }  # another item's reference
    same = dict.fromkeys(items, often)
    trivial = {"the most frequent reference": same, "another item's reference": other}
    if task.sources:
        trivial["the source itself"] = dict(task.sources)
    listed = EDITED if task.sources else METRICS
    metrics = {name: find("text-metric", name).make() for name in available(listed)}
    sources = [task.sources[item] for item in items] if task.sources else None
    references = [list(task.references[item]) for item in items]
    for kind, arms in (("trivial", trivial), ("run", task.outputs)):
        for name, texts in arms.items():
            began = time.monotonic()
            told = [texts.get(item, "") for item in items]
            units, whole = {}, {}
            for metric, of in metrics.items():
                units[metric] = of.per_item(told, references, sources)
                whole[metric] = of.corpus(told, references, sources)
            yield Made(name, kind, units, {}, time.monotonic() - began, whole)


def available(names: Sequence[str] = METRICS) -> list[str]:
    """The metrics that can be computed here; those of sacrebleu need it installed."""
    from importlib.util import find_spec

    have = find_spec("sacrebleu") is not None
    return [name for name in names if have or name not in ("bleu", "chrf")]
