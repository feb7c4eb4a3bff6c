"""Planted items to train on: every view tells of the same few hidden signs."""

import numpy as np

from conjoin.models.pretraining.batches import Column, Corpus
from conjoin.spaces import Pairs, Tokens

SIGNS = 5


def token_sets(rows) -> Tokens:
    ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Tokens(np.concatenate(rows), ends)


def signs_of(items: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, size=(items, SIGNS))


def floats(signs: np.ndarray, wide: int, seed: int, each: int = 1, noise: float = 0.1) -> Column:
    """A token for every sign (``each`` of them), drawn around one of four points a place."""
    rng = np.random.default_rng([7, seed])
    points = rng.normal(size=(SIGNS, 4, wide))
    rows = []
    for own in signs:
        tokens = np.repeat([points[place, sign] for place, sign in enumerate(own)], each, axis=0)
        rows.append((tokens + noise * rng.normal(size=tokens.shape)).astype(np.float32))
    return Column(token_sets(rows))


def letters(signs: np.ndarray) -> Column:
    """An id for every sign, another set of ids for every place."""
    ids = signs + 4 * np.arange(SIGNS)
    return Column(token_sets([row.reshape(-1, 1).astype(np.int32) for row in ids]), 4 * SIGNS)


def corpus(views: dict[str, Column], family: int = 1, absent: dict | None = None) -> Corpus:
    """Lines of all views, ``family`` items a family, ``absent`` rows of views taken out."""
    items = len(next(iter(views.values())).tokens)
    rows = np.stack([np.arange(items)] * len(views), 1)
    for name, gone in (absent or {}).items():
        rows[gone, list(views).index(name)] = -1
    lines = Pairs(tuple(views), rows, np.ones(items), np.arange(items) // family)
    return Corpus(views, lines)


def shuffled(made: Corpus, seed: int = 3) -> Corpus:
    """The same cells with ids that say nothing and lines that pair nothing."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name, column in made.columns.items():
        held = column.tokens
        mixed = held.vectors[rng.permutation(len(held.vectors))]
        columns[name] = Column(Tokens(mixed, held.offsets), column.vocabulary)
    return Corpus(columns, made.lines)


def world(items: int = 96, seed: int = 0) -> Corpus:
    """Picture-like and text-like floats, words, a sound and its letters."""
    signs = signs_of(items, seed)
    return corpus({
        "image": floats(signs, 12, 1), "text": floats(signs, 10, 2), "words": letters(signs),
    })  # fmt: skip


def spoken(items: int = 96, seed: int = 0) -> Corpus:
    """A sound of three frames a sign, and the signs as letters."""
    signs = signs_of(items, seed)
    return corpus({"speech": floats(signs, 12, 3, each=3), "letters": letters(signs)})
