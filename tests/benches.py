"""Small planted data for tests of tasks; never for a verdict."""

import numpy as np

from conjoin.evaluation.benchmark import Bench
from conjoin.spaces import Pairs, Space

DIM = 8
CLASSES = ("bird", "boat", "book", "bread", "bridge", "bell")


def bench(
    *views: str, items: int = 160, noise: float = 0.05, parts: int = 1, seed: int = 0,
    name: str = "planted", kin: int = 1,
) -> Bench:  # fmt: skip
    """Views that are rotations of what an item is, plus noise; classes in equal numbers.

    ``drawing`` is read by the encoder of ``image``. Every view has ``parts`` rows an item; items
    form groups of ``kin``.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"item{i:03d}" for i in range(items)])
    owner = np.arange(items) % len(CLASSES)
    centres = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][: len(CLASSES)] * 3
    truth = centres[owner] + rng.normal(size=(items, DIM))
    spaces, names = {}, {}
    for place, view in enumerate(views):
        encoder = "image" if view == "drawing" else view
        turn = rotation(encoder)
        own = np.repeat(np.arange(items), parts)
        own = own[np.random.default_rng([seed, place]).permutation(len(own))]
        rows = truth[own] @ turn + noise * rng.normal(size=(len(own), DIM))
        spaces[view] = Space.of(rows.astype(np.float32), ids[own], name=encoder)
        names[view] = Space.of((centres @ turn).astype(np.float32), CLASSES, name=encoder)
    groups = {item: f"group{i // kin}" for i, item in enumerate(ids)}
    labels = {item: CLASSES[k] for item, k in zip(ids, owner, strict=True)}
    return Bench(name, spaces, Pairs.by_id(spaces, groups), groups, labels, names)


def rotation(encoder: str) -> np.ndarray:
    """Each encoder's own axes, far from those of any other."""
    rng = np.random.default_rng([len(encoder), *encoder.encode()])
    return np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
