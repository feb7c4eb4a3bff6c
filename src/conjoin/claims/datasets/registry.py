"""Data sets by name: small, real, and at hand without a network."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Row
from conjoin.encoders.open import cache_folder, kind_of, open_encoder
from conjoin.encoders.run import embed
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.benchmark import Bench
from conjoin.items import Items
from conjoin.items.cells import content_hash
from conjoin.spaces import Pairs, Space
from conjoin.spaces.store import SpaceStore
from conjoin.storage.digest import digest

#: Rows a shard while views are embedded; a killed run loses no more than these.
SHARD = 512


@runtime_checkable
class Data(Protocol):
    """A data set: named views of the same items, a group and perhaps a class of each.

    A frozen dataclass. The same fields and views give the same bench, bit for bit, on one machine;
    across machines frames, ids and contents are the same, and so is its digest.
    """

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views it can give."""
        ...

    def load(self, views: Sequence[str]) -> Bench:
        """The bench of these views, in this order.

        Raises
        ------
        ConjoinError : a view is unknown or given twice, or there are none.
        MissingDependency : the package that carries it is not installed.
        """
        ...


def open_bench(text: str) -> Bench:
    """Open a data set as claims write it: ``name:view+view``.

    Raises
    ------
    ConjoinError : there is no such data set or view; near ones are named.
    MissingDependency : the package that carries it is not installed.

    Examples
    --------
    >>> bench = open_bench("wine:acids+colours")
    >>> [(name, space.vectors.shape) for name, space in bench.spaces.items()]
    [('acids', (178, 6)), ('colours', (178, 7))]
    """
    row, views = parse(text)
    data: Data = row.make()
    # An engine with settings makes several rows: the bench goes by what was asked for.
    return replace(data.load(views), name=text)


def parse(text: str) -> tuple[Row, tuple[str, ...]]:
    """The catalogue row and the views that ``name:view+view`` names; the views are not checked.

    Raises
    ------
    ConjoinError : there is no such data set.

    Examples
    --------
    >>> row, views = parse("digits:left+right")
    >>> row.name, views
    ('digits', ('left', 'right'))
    """
    name, _, views = text.partition(":")
    return catalogue.find("data", name), tuple(filter(None, views.split("+")))


def require_views(name: str, known: Sequence[str], views: Sequence[str]) -> None:
    """Refuse views that are unknown, given twice, or none at all."""
    where = f"data {name}"
    if not views:
        raise ConjoinError(where, "no view", f"write {name}:{'+'.join(known[:2])}")
    for view in views:
        if view not in known:
            raise ConjoinError(where, f"no view {view!r}", nearest(view, known))
    if len(set(views)) < len(views):
        raise ConjoinError(where, f"a view twice in {'+'.join(views)}", "give each view once")


def joined(
    name: str,
    spaces: Mapping[str, Space],
    groups: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    names: Mapping[str, Space] | None = None,
) -> Bench:
    """The bench of views that share item ids; an item is its own group when not given."""
    if groups is None:
        groups = {str(item): str(item) for space in spaces.values() for item in space.ids}
    pairs = Pairs.by_id(spaces, groups) if len(spaces) > 1 else _alone(spaces)
    return Bench(f"{name}:{'+'.join(spaces)}", spaces, pairs, groups, labels or {}, names or {})


def _alone(spaces: Mapping[str, Space]) -> Pairs:
    """No line: one view has nothing to be paired with."""
    return Pairs(tuple(spaces), np.empty((0, len(spaces)), dtype=np.int64))


def given(values: np.ndarray, ids: Sequence[str], name: str) -> Space:
    """Vectors of a package's own, each hashed by its numbers."""
    space = Space.of(np.asarray(values, dtype=np.float32), ids, name=name)
    content = [content_hash(row, "vector") for row in np.asarray(space.vectors)]
    return replace(space, content=np.array(content, dtype=np.uint64))


def embedded(
    make: Callable[[], Items], column: str, uri: str, source: str, label: str = ""
) -> Space:
    """A column of items as an encoder sees it, embedded once and mapped from disk ever after.

    Kept below :func:`~conjoin.encoders.open.cache_folder` under a hash of the source, the column,
    the encoder's URI and its frame. A run that was killed goes on where it was; a second process
    waits for the first.

    Parameters
    ----------
    make : gives the items; called only where something is to be embedded.
    source : a hash of what ``make`` reads.
    label : what the progress on stderr calls it.

    Raises
    ------
    ConjoinError : a cell cannot be read.
    """
    encoder = open_encoder(uri)
    address = digest([source, column, uri, encoder.frame.id])
    folder = cache_folder() / "claims" / address
    kept = _kept(SpaceStore(folder, encoder.frame))
    if kept is not None:
        return kept
    with _one_at_a_time(folder):
        store = SpaceStore(folder, encoder.frame)
        if _kept(store) is None:
            embed(
                store, encoder, make().cells(column, kind_of(uri)), shard_rows=SHARD, strict=True,
                progress=lambda done, total: _tell(f"{label or column}: {done} of {total}"),
            )  # fmt: skip
        kept = _kept(store)
    if kept is None:
        raise ConjoinError(str(folder), "holds no rows after embedding", "remove it and run again")
    return kept


def texts(words: Mapping[str, str], uri: str, label: str = "class names") -> Space:
    """The words of each id (an item, or a class) as a text encoder sees them; kept likewise."""
    table = {"id": list(words), "words": list(words.values())}
    return embedded(lambda: Items.from_frame(table, id="id"), "words", uri, digest(table), label)


def _kept(store: SpaceStore) -> Space | None:
    """A finished store's rows; an encoder's rows are published all at once."""
    return None if store.pending() is not None else store.open()


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; where the system has none, the caller is trusted to be alone."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
