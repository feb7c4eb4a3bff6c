"""Another encoder for one modality of a binding: its map alone is fitted, to the frozen frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding, finished, require_enough
from conjoin.alignment.choice import Choice
from conjoin.catalogue import find
from conjoin.errors import ConjoinError, nearest
from conjoin.maps.base import identity
from conjoin.spaces import Pairs, Space, require_same
from conjoin.spaces.frame import unit
from conjoin.stats.bootstrap import interval

#: Bridges tried where none is named, and what each is fitted toward: the vectors of the old
#: encoder, or these and the partners in other modalities.
TRIED: tuple[tuple[str, str], ...] = tuple(
    (method, toward)
    for method in ("ridge", "low-rank", "procrustes", "local-bridge", "cca")
    for toward in ("old", "all")
)


#: The view of labels that an aligner with ``labelled`` is given first.
LABEL = "label"


@dataclass(frozen=True)
class Way:
    """How a bridge is fitted.

    Parameters
    ----------
    method : an aligner's name.
    toward : ``old`` vectors of the same rows, or ``all``: partners in other modalities as well.
    """

    method: str = "ridge"
    toward: str = "old"

    def __str__(self) -> str:
        return f"{self.method}, toward {self.toward}"


def by_row(old: Space, new: Space) -> Pairs:
    """Lines of the rows of two spaces that are of one item and part: views ``old`` and ``new``."""
    at = {key: row for row, key in enumerate(_keys(old))}
    lines = [(at[key], row) for row, key in enumerate(_keys(new)) if key in at]
    if not lines:
        raise ConjoinError("sample", "no row of it is indexed", "check the ids")
    return Pairs(("old", "new"), np.array(lines, dtype=np.int64))


def _keys(space: Space) -> list[tuple[str, int]]:
    return list(zip(space.ids.tolist(), space.parts.tolist(), strict=True))


def upgraded(
    binding: Binding,
    name: str,
    bound: Mapping[str, Space],
    new: Space,
    pairs: Pairs,
    *,
    way: Way | Any = Way(),
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> Binding:
    """The binding with another encoder's map for one modality; frame and all other maps stay.

    Parameters
    ----------
    bound : vectors in the binding's frame: of ``name`` by the old encoder, and of others.
    new : rows by the new encoder, in its frame.
    pairs : lines of ``old`` and ``new`` (as :func:`by_row` gives them) and perhaps of others;
        groups of what is trained on.
    way : how; or an aligner.
    labels : ``[n]`` the class of each new row, empty where it has none; for bridges that learn
        from labels.

    Raises
    ------
    ConjoinError : the modality is not bound, pairs are too few, or labels are missing.
    FrameError : a bound space is of another frame.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> spaces = {"a": Space.of(x, name="a"), "b": Space.of(x @ np.eye(5)[::-1], name="b")}
    >>> binding = Binding.fit(spaces, method="ridge")
    >>> bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    >>> newer = Space.of(2 * x[:, ::-1], name="newer")
    >>> made = upgraded(binding, "b", bound, newer, by_row(bound["b"], newer))
    >>> made.frame == binding.frame, made.maps["b"].source == newer.frame
    (True, True)
    """
    if name not in binding.maps:
        raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, binding.maps))
    for other, space in bound.items():
        require_same(space.frame, binding.frame, f"modality {other}")
    pairs = _toward(pairs, way)
    require_enough(pairs, ("new",))
    spaces = {"old": bound[name], **{n: s for n, s in bound.items() if n != name}}
    spaces = {n: s for n, s in spaces.items() if n in pairs.names}
    aligner = find("aligner", way.method).make() if isinstance(way, Way) else way
    views: dict[str, Any] = {n: s.vectors for n, s in spaces.items()} | {"new": new.vectors}
    if getattr(aligner, "labelled", False):
        rows, pairs = with_labels(pairs, {} if labels is None else {"new": labels})
        views = {LABEL: rows, **views}
    fitted = aligner.fit(
        views, pairs.select(tuple(views)),
        frames={n: binding.frame.id for n in spaces} | {"new": new.frame.id},
        frozen=dict.fromkeys(spaces, identity(binding.frame.dim)), seed=seed,
    )  # fmt: skip
    item = finished(fitted["new"], binding.frame).between(new.frame, binding.frame)
    maps = {key: item if key == name else own for key, own in binding.maps.items()}
    return replace(binding, maps=maps, trained=np.union1d(binding.trained, pairs.group))


def with_labels(pairs: Pairs, named: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Pairs]:
    """One-hot rows of the classes, and the lines with a first column that says which.

    Parameters
    ----------
    named : by view, the class of each row, empty where it has none. A line's class is that of
        the first view that has one.

    Raises
    ------
    ConjoinError : no line has a label.
    """
    own = np.full(len(pairs), "", dtype=object)
    for name, labels in named.items():
        if name in pairs.names:
            column = pairs.column(name)
            found = np.where(column >= 0, np.asarray(labels, object)[np.maximum(column, 0)], "")
            own = np.where(own == "", found, own)
    kinds = sorted(set(own.tolist()) - {""})
    if not kinds:
        raise ConjoinError(
            "--bridge", "learns from labels and none is given", "name their column: --labels COLUMN"
        )
    place = {kind: row for row, kind in enumerate(kinds)}
    first = np.array([place.get(kind, -1) for kind in own.tolist()], dtype=np.int64)
    rows = np.concatenate([first[:, None], pairs.rows], axis=1)
    made = replace(pairs, names=(LABEL, *pairs.names), rows=rows)
    return np.eye(len(kinds), dtype=np.float32), made


def learns_labels(way: Way | None) -> bool:
    """Whether a way's aligner is fitted to labels."""
    return way is not None and "labels" in find("aligner", way.method).needs


def _toward(pairs: Pairs, way: Way | Any) -> Pairs:
    """The couples of the new view that a way looks at."""
    wanted = ["old", "new"] if getattr(way, "toward", "old") == "old" else list(pairs.names)
    return pairs.select(tuple(wanted))


def choose_way(
    binding: Binding,
    name: str,
    bound: Mapping[str, Space],
    new: Space,
    learn: Pairs,
    held: Pairs,
    *,
    seed: int = 0,
) -> tuple[Way, dict[str, float]]:
    """The bridge that serves held-out lines best, and what each was worth.

    A bridge is fitted to ``learn`` and is worth the mean recall@10 of finding each held-out line's
    partner in every other modality and back; its own old vector where no other is paired. The
    binding must not have been fitted to ``held``: where its own partners lie too near, what
    follows them best looks best. Earlier in :data:`TRIED` wins where two are equal.
    """
    worth: dict[str, float] = {}
    best, most, why = Way(), -1.0, None
    for entry in TRIED:
        way = Way(*entry)
        if way.toward == "all" and set(learn.names) == {"old", "new"}:
            continue
        try:
            made = upgraded(binding, name, bound, new, learn, way=way, seed=seed)
        except ConjoinError as error:
            why = error
            continue
        worth[str(way)] = _worth(made, name, bound, new, held)
        if worth[str(way)] > most:
            best, most = way, worth[str(way)]
    if not worth and why is not None:
        raise why
    return best, worth


def _worth(made: Binding, name: str, bound: Mapping[str, Space], new: Space, held: Pairs) -> float:
    """Mean recall@10 of held-out lines, both ways."""
    placed: Any = made.bind(name, new).vectors
    others = [n for n in held.names if n not in ("old", "new")] or ["old"]
    found = []
    for other in others:
        i, j, _ = held.between("new", other)
        if len(i) < 2:
            continue
        target: Any = bound[name if other == "old" else other].vectors
        u = made.frame.query(np.asarray(placed)[i])
        v = made.frame.item(np.asarray(target, np.float32)[j])
        scores = u @ v.T
        own = np.diag(scores)
        found += [float(np.mean((scores > own[:, None]).sum(1) < 10)),
                  float(np.mean((scores > own).sum(0) < 10))]  # fmt: skip
    return float(np.mean(found)) if found else 0.0


def anew(
    spaces: Mapping[str, Space], pairs: Pairs, choice: Choice, hub: str, *, seed: int = 0
) -> Binding:
    """A binding of its own frame, by the method and settings of one in use.

    One that was fitted to labels, which are not at hand, is followed by ridge.
    """
    method = replace(choice, hub=hub).make()
    if getattr(method, "labelled", False):
        method = find("aligner", "ridge").make()
    return Binding.fit(spaces, pairs, method=method, hub=hub, seed=seed)


@dataclass(frozen=True)
class Hop:
    """One more bridge of a chain, from its encoder back to the first.

    Parameters
    ----------
    hops : bridges passed.
    chained, direct : recall@1 of held-out rows' own first vectors, by the chain and by one
        bridge fitted directly; with the chain's interval.
    """

    hops: int
    chained: float
    low: float
    high: float
    direct: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return dict(self.__dict__)


def chain_report(
    versions: Sequence[np.ndarray], groups: np.ndarray, *, method: str = "ridge", seed: int = 0
) -> Iterator[Hop]:
    """How the error grows when each new encoder is bridged to the last and never to the first.

    Parameters
    ----------
    versions : ``[n, d_v]`` vectors of the same rows, the oldest encoder first.
    groups : ``[n]``; half of them are fitted to, the others asked.

    Raises
    ------
    ConjoinError : fewer than two versions, or rows differ.
    """
    if len(versions) < 2 or len({len(v) for v in versions}) > 1:
        raise ConjoinError("versions", f"{[len(v) for v in versions]} rows", "give two, row by row")
    lines = Pairs(("a", "b"), np.stack([np.arange(len(versions[0]))] * 2, 1), group=groups)
    fold = lines.folds(2, seed)
    learn, held = lines.take(fold == 0), np.flatnonzero(fold == 1)

    def bridge(old: np.ndarray, new: np.ndarray) -> Any:
        aligner = find("aligner", method).make()
        fitted = aligner.fit(
            {"a": old, "b": new}, learn, frozen={"a": identity(old.shape[1])}, seed=seed
        )
        return fitted["b"]

    steps: list[Any] = []
    for place in range(1, len(versions)):
        steps.append(bridge(versions[place - 1], versions[place]))
        x = versions[place][held]
        for step in reversed(steps):
            x = step.apply(x)
        own = versions[0][held]
        direct = bridge(versions[0], versions[place]).apply(versions[place][held])
        hits = _firsts(x, own)
        low, high = interval(hits, groups[held], seed=seed)
        yield Hop(place, float(hits.mean()), low, high, float(_firsts(direct, own).mean()))


def _firsts(x: np.ndarray, own: np.ndarray) -> np.ndarray:
    scores = unit(x) @ unit(own).T
    return np.asarray(scores.argmax(axis=1) == np.arange(len(own)), dtype=np.float64)
