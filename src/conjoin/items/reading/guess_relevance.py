"""Which columns may say what is relevant: labels, keywords and groups that items share."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from conjoin.items.cells import is_missing
from conjoin.items.reading.table import Source

#: Names of columns, the likeliest first.
KEYWORDS = ("keywords", "tags", "topics", "labels", "categories")
LABELS = ("class", "label", "category", "species", "kind", "genre", "type")
GROUPS = ("group", "topic", "section", "subject")
#: Values looked at.
LOOKED = 5000


def relevance_part(source: Source) -> tuple[list[str], str | None]:
    """Lines of ``[relevance]`` and a note that says so; nothing where no column looks like it.

    A label or keyword must be shared: half as many distinct ones as items, or fewer.
    """
    keywords, labels = _first(source, KEYWORDS, words=True), _first(source, LABELS)
    groups = _first(source, GROUPS) if keywords else None
    found = {
        "labels": labels if not keywords else None, "keywords": keywords, "groups": groups
    }  # fmt: skip
    named = {role: one for role, one in found.items() if one is not None}
    if not named:
        return [], None
    lines = ["", "[relevance]                      # which items answer beside their own partner"]
    lines += [f'{role} = "{name}"  # {why}' for role, (name, why) in named.items()]
    said = " and ".join(f"{role} in {name}" for role, (name, _) in named.items())
    return lines, f"relevance is told by {said}; change or remove [relevance] if that is wrong"


def _first(source: Source, names: Sequence[str], words: bool = False) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in source.names}
    for name in names:
        column = lower.get(name)
        if column is None or '"' in column or "\\" in column:
            continue
        values = [v for v in islice(source.values(column), LOOKED) if not is_missing(v)]
        told = _keywords(values) if words else _labels(values)
        if told is not None:
            return column, told
    return None


def _labels(values: Sequence[Any]) -> str | None:
    if not values or not all(isinstance(v, str | int | bool) for v in values):
        return None
    count = len(set(map(str, values)))
    return f"{count} values" if 2 <= count <= len(values) / 2 else None


def _keywords(values: Sequence[Any]) -> str | None:
    lists = [v.split(",") if isinstance(v, str) else v for v in values]
    if not lists or not all(isinstance(one, list | tuple) for one in lists):
        return None
    words = Counter(str(word).strip().casefold() for one in lists for word in one)
    many = sum(words.values())
    if many < 1.2 * len(lists) or len(words) > many / 2:
        return None
    return f"{len(words)} words, {many / len(words):.0f} items each"
