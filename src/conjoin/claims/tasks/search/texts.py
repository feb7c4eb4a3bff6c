"""What is written of a data set's items, for tasks that need words beside vectors."""

from collections.abc import Mapping, Sequence

import numpy as np

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.claims.datasets.registry import parse, texts
from conjoin.errors import ConjoinError
from conjoin.evaluation.benchmark import Bench, Setting
from conjoin.spaces import Space

#: What is not part of a word at its ends; captions and vocabularies are cut alike.
_MARKS = ",:.;!?()“”\"'"
_EMOJI = "conjoin.claims.datasets.emoji:Emoji"


def captions(bench: Bench, view: str) -> dict[str, list[str]]:
    """By item id, the texts that a view's cells hold, or that its pictures are called by.

    Of the bundled sample these are the view's own column (a picture's is its label). Elsewhere an
    item's text is its class and its id.
    """
    if not is_emoji(bench):
        ids = dict.fromkeys(map(str, bench.view(view).ids))
        return {item: [f"{bench.labels.get(item, 'thing')} {item}"] for item in ids}
    from pyarrow import parquet

    from conjoin.claims.datasets.emoji import VIEWS
    from conjoin.items.bundled import sample_path

    column, uri = VIEWS[view]
    column = column if uri.partition(":")[2].startswith(("text", "chargram")) else "label"
    table = parquet.read_table(sample_path(), columns=["id", column])
    values = zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True)
    return {
        str(item): [str(part) for part in (value if isinstance(value, list) else [value])]
        for item, value in values
        if value
    }


def embedded_words(bench: Bench, view: str, words: Sequence[str]) -> np.ndarray:
    """Vectors ``[n, d]`` of words by the encoder of a view of texts.

    Where the encoder is not at hand, a word that names a class or an item has that one's vector.

    Raises
    ------
    ConjoinError : a word names nothing there.
    """
    if not is_emoji(bench):
        return np.stack([_named(bench, view, word) for word in words])
    from conjoin.claims.datasets.emoji import VIEWS

    # All words of the view at once, so that every seed and fold reads the same stored vectors.
    said = [part for parts in captions(bench, view).values() for part in parts]
    every = {word.strip(_MARKS) for text in said for word in text.lower().split()} - {""}
    distinct = sorted(every | set(words))
    space = texts({word: word for word in distinct}, VIEWS[view][1], "words")
    place = {str(item): row for row, item in enumerate(space.ids)}
    return np.asarray(space.vectors)[[place[word] for word in words]]


def _named(bench: Bench, view: str, word: str) -> np.ndarray:
    for space in filter(None, (bench.names.get(view), bench.view(view))):
        rows = np.flatnonzero(space.ids == word)
        if len(rows):
            return np.asarray(np.asarray(space.vectors)[rows[0]])
    raise ConjoinError(f"data {bench.name}", f"{word!r} has no vector", "take emoji")


def is_emoji(bench: Bench) -> bool:
    """Whether a bench is of the bundled sample, whose encoders and captions are at hand."""
    name = bench.name.partition(":")[0]
    return name in catalogue.of_kind("data") and parse(bench.name)[0].target == _EMOJI


def bound_views(
    setting: Setting, aligner: str, hub: str, seed: int
) -> tuple[Binding, dict[str, Space]]:
    """A closed binding of a setting's training pairs, and every row of its views under it."""
    names = setting.train.names
    spaces = {name: setting.spaces[name].pooled() for name in names}
    made = catalogue.find("aligner", aligner).make()
    fitted = Binding.fit(spaces, setting.train, method=made, hub=hub, seed=seed)
    return fitted, {name: fitted.bind(name, spaces[name]) for name in names}


def rows_of_items(space: Space, items: Mapping[str, object] | Sequence[str]) -> np.ndarray:
    """The first row of each item, in the order of ``items``."""
    first: dict[str, int] = {}
    for row, item in enumerate(space.ids):
        first.setdefault(str(item), row)
    return np.array([first[str(item)] for item in items], dtype=np.int64)
