"""Several modalities in one frame: fitted once, extended without moving what is stored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment import hub as pretrained
from conjoin.alignment.choice import Choice
from conjoin.alignment.modality_graph import check_hub, hub_candidates, require_connected
from conjoin.errors import ConjoinError, StateError, nearest
from conjoin.maps.base import (
    Chain,
    Normalise,
    apply_rows,
    identity,
    load_map,
    save_map,
    score_of,
    stages,
)
from conjoin.spaces import Frame, Pairs, Space, Tokens, require_same
from conjoin.storage.digest import digest
from conjoin.storage.files import (
    check_marks,
    map_arrays,
    mark_of,
    read_json,
    within,
    write_arrays,
    write_json,
)
from conjoin.storage.renamed import hashed

Chooser = Callable[..., Choice]

#: Fewest pairs from which anything is fitted.
FEWEST = 4
#: The aligner that leaves every vector as it is.
AS_IT_IS = "identity"


@dataclass(frozen=True, eq=False)
class Binding:
    """The maps of several modalities into one frame.

    Parameters
    ----------
    frame : where all maps lead.
    hub : the modality the others were fitted to; fixed at the first fit.
    maps : one map a modality, stamped with its source frame.
    choice : the method, its fields and what it was chosen over.
    trained : ``[g]`` groups of pairs the maps have seen; never evaluated on.
    beside : how modalities of other encoders were bound to the frame of a joint one.
    """

    frame: Frame
    hub: str
    maps: Mapping[str, Any]
    choice: Choice
    seed: int = 0
    trained: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    beside: Mapping[str, Choice] = field(default_factory=dict)

    @classmethod
    def as_it_is(cls, spaces: Mapping[str, Space], hub: str | None = None) -> "Binding":
        """Modalities of one frame, bound as their encoder gave them: no pairs, no fit.

        The joint frame is theirs, and every vector stays byte for byte.

        Raises
        ------
        FrameError : they are of several frames.
        ConjoinError : there is none, or their frame is not scored by cosine.

        Examples
        --------
        >>> rows = np.eye(3, dtype=np.float32)
        >>> spaces = {"image": Space.of(rows, name="clip"), "text": Space.of(rows, name="clip")}
        >>> made = Binding.as_it_is(spaces)
        >>> made.frame == spaces["image"].frame, made.bind("text", spaces["text"]).vectors is rows
        (True, True)
        """
        check_hub(hub, list(spaces))
        if not spaces:
            raise ConjoinError("modalities", "none was given", "give one or more")
        hub = hub or next(iter(spaces))
        frame = spaces[hub].frame
        for name, space in spaces.items():
            require_same(space.frame, frame, f"modality {name}")
        if frame.score != "cosine":
            raise ConjoinError(
                f"modality {hub}", f"is scored by {frame.score}", "fit a binding: conjoin fit"
            )
        maps = {name: identity(frame.dim).between(frame, frame) for name in spaces}
        return cls(frame, hub, maps, Choice.of(AS_IT_IS, hub))

    @property
    def joint(self) -> tuple[str, ...]:
        """Modalities whose own frame is the binding's; empty where that one was minted by a fit."""
        return tuple(name for name, own in self.maps.items() if own.source == self.frame)

    @classmethod
    def fit(
        cls,
        spaces: Mapping[str, Space],
        pairs: Pairs | None = None,
        *,
        method: Any = "auto",
        hub: str | None = None,
        seed: int = 0,
        chooser: Chooser | None = None,
    ) -> "Binding":
        """Fit one map a modality, all into one frame.

        Parameters
        ----------
        spaces : two or more modalities; token sets are pooled by methods that take vectors.
        pairs : training pairs; rows sharing an item id when not given. Methods with ``pairless``
            take none as well: ``Pairs(names, np.empty((0, len(names)), int))``.
        method : an aligner's name in the catalogue, an aligner, or ``auto`` with a ``chooser``.
        hub : the modality the others are fitted to; chosen when not given.
        chooser : decides ``auto``; :func:`conjoin.fit` has one that asks held-out folds.

        Raises
        ------
        ConjoinError : fewer than two modalities, too few pairs, or pieces nothing joins.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(40, 5))
        >>> spaces = {"a": Space.of(x, name="a"), "b": Space.of(x @ np.eye(5)[::-1], name="b")}
        >>> Binding.fit(spaces, method="ridge").frame.dim
        5
        """
        check_hub(hub, list(spaces))
        if len(spaces) < 2:
            raise ConjoinError("modalities", f"only {list(spaces)}", "give two or more to join")
        pairs = Pairs.by_id(spaces) if pairs is None else pairs.select(tuple(spaces))
        if not _pairless(method):
            require_enough(pairs, pairs.names)
            require_connected(pairs)
        hubs = [hub] if hub else hub_candidates(pairs)
        if method == "auto":
            choice = _given(chooser)(spaces, pairs, hubs=hubs, seed=seed)
        else:
            choice = Choice.of(method, hubs[0])
        return _fit_choice(spaces, pairs, choice, seed)

    @classmethod
    def placed(
        cls,
        fitted: Mapping[str, Any],
        spaces: Mapping[str, Space],
        pairs: Pairs,
        choice: Choice,
        seed: int = 0,
    ) -> "Binding":
        """The binding of maps that an aligner has fitted: one frame is minted for all.

        Parameters
        ----------
        fitted : a map a modality, as ``choice.make().fit`` gave them for ``pairs``.
        """
        if choice.method == AS_IT_IS and one_frame(spaces):
            # Encoders that share a frame keep it: nothing was changed, so nothing is minted.
            made = cls.as_it_is(spaces, choice.hub)
            return replace(made, choice=choice, seed=seed, trained=np.unique(pairs.group))
        frame = _mint(fitted, choice, choice.make(), spaces, pairs, seed)
        maps = {
            name: finished(fitted[name], frame).between(space.frame, frame)
            for name, space in spaces.items()
        }
        return cls(frame, choice.hub, maps, choice, seed, np.unique(pairs.group))

    def extend(
        self,
        spaces: Mapping[str, Space],
        pairs: Pairs | None = None,
        *,
        choice: Choice | None = None,
        chooser: Chooser | None = None,
    ) -> "Binding":
        """Fit maps for modalities not yet bound, to where the bound ones already lie.

        Only the new modalities' maps are fitted; the frame and every stored vector stay.

        Parameters
        ----------
        spaces : the new modalities and the bound ones they are paired with.
        choice : the method; the one in use when not given.
        chooser : decides where what is bound is bound as it is, and no choice is given: nothing
            was fitted to go by. :func:`conjoin.extend` has one that asks held-out folds.

        Raises
        ------
        ConjoinError : nothing is new, nothing joins it to what is bound, or pairs are too few.
        FrameError : a bound modality's vectors are of another encoder.
        """
        new = [name for name in spaces if name not in self.maps]
        if not new:
            raise ConjoinError("modalities", f"{list(spaces)} are all bound", "name a new one")
        if len(new) == len(spaces):
            raise ConjoinError(
                "modalities", f"none of {new} is bound", f"pair them with {self.hub}"
            )
        for name, space in spaces.items():
            if name in self.maps:
                require_same(space.frame, self.maps[name].source, f"modality {name}")
        pairs = Pairs.by_id(spaces) if pairs is None else pairs.select(tuple(spaces))
        require_enough(pairs, new)
        require_connected(pairs, self.maps)
        spaces = {name: s for name, s in spaces.items() if (pairs.column(name) >= 0).any()}
        pairs = pairs.select(tuple(spaces))
        frozen = {name: self.maps[name] for name in spaces if name in self.maps}
        if choice is None and self.joint:
            choice = _given(chooser)(spaces, pairs, frozen, hub=self.hub, seed=self.seed)
        aligner = (choice or self.choice).make()
        fitted = aligner.fit(
            {name: space.vectors for name, space in spaces.items()},
            pairs,
            frames={name: space.frame.id for name, space in spaces.items()},
            frozen=frozen,
            seed=self.seed,
        )
        maps = dict(self.maps)
        for name in new:
            maps[name] = finished(fitted[name], self.frame).between(spaces[name].frame, self.frame)
        trained = np.union1d(self.trained, pairs.group)
        beside = {**self.beside, **(dict.fromkeys(new, choice) if choice else {})}
        return replace(self, maps=maps, trained=trained, beside=beside)

    def bind(self, name: str, space: Space) -> Space:
        """The vectors of one modality in the joint frame.

        Raises
        ------
        FrameError : the space was made by another encoder than the map was fitted to.
        """
        if name not in self.maps:
            raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, self.maps))
        source = self.maps[name].source
        if space.frame != source:
            require_same(space.frame, source, f"modality {name} (its map is stale)")
        if source == self.frame:  # of the joint frame already: byte for byte, and not copied
            return space
        return replace(
            space,
            vectors=apply_rows(self.maps[name], space.vectors),
            frame=self.frame,
            provenance=(*space.provenance, f"bound by {self.frame.id}"),
        )

    def without(self, name: str) -> "Binding":
        """The same frame with one modality taken out; the hub stays."""
        if name == self.hub:
            raise ConjoinError("modality", f"{name!r} is the hub", "refit with another hub")
        if name not in self.maps:
            raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, self.maps))
        return replace(
            self, maps={key: m for key, m in self.maps.items() if key != name},
            beside={key: own for key, own in self.beside.items() if key != name},
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write maps first and ``binding.json`` last, so that it never names what is not there."""
        files = {}
        for name, item in self.maps.items():
            files[name] = f"maps/{digest(name.encode())}.safetensors"
            if not _same_map(folder / files[name], item):
                save_map(item, folder / files[name])
        write_arrays(folder / "trained.safetensors", {"groups": self.trained}, {})
        marks = {file: mark_of(folder / file) for file in (*files.values(), "trained.safetensors")}
        beside = {name: choice.to_json() for name, choice in self.beside.items()}
        write_json(
            folder / "binding.json",
            {
                "version": 1,
                "frame": self.frame.to_json(),
                "hub": self.hub,
                "maps": files,
                "marks": marks,
                "seed": self.seed,
                "choice": self.choice.to_json(),
                **({"beside": beside} if beside else {}),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> "Binding":
        """Read back what :meth:`save` wrote; weights stay memory-mapped.

        Raises
        ------
        ConjoinError : the folder holds no binding.
        StateError : a file is missing, torn, or of a newer format.
        """
        path = folder / "binding.json"
        if not path.exists():
            raise ConjoinError(str(folder), "holds no binding", "run: conjoin fit")
        raw = read_json(path)
        try:
            frame, choice = Frame.from_json(raw["frame"]), Choice.from_json(raw["choice"])
            hub, files, seed = raw["hub"], dict(raw["maps"]), int(raw["seed"])
            beside = {n: Choice.from_json(own) for n, own in raw.get("beside", {}).items()}
        except (ConjoinError, KeyError, TypeError, ValueError):
            raise StateError(str(path), "is not a binding", "run: conjoin fit") from None
        check_marks(folder, raw.get("marks", {}))
        maps = {name: load_map(within(folder, file)) for name, file in files.items()}
        arrays, _ = map_arrays(folder / "trained.safetensors")
        return cls(frame, hub, maps, choice, seed, np.array(arrays["groups"]), beside)

    def save_pretrained(self, folder: Path | str) -> None:
        """As :meth:`save`, with a ``README.md`` in the Hub's form; one that is there stays."""
        pretrained.save_pretrained(self, folder)

    @classmethod
    def from_pretrained(cls, source: Path | str, *, revision: str | None = None) -> "Binding":
        """Read a folder, or a repository of the Hub (``owner/name``), exactly as it was saved.

        Raises
        ------
        ConjoinError : there is no such folder or repository, or it holds no binding.
        MissingDependency : it is a repository and ``huggingface_hub`` is not installed.
        """
        return cls.load(pretrained.resolve(source, revision))


def _given(chooser: Chooser | None) -> Chooser:
    """What decides, where a decision is asked for."""
    if chooser is None:
        raise ConjoinError(
            "method", "auto needs a chooser", "use conjoin.fit or conjoin.extend, or name a method"
        )
    return chooser


def one_frame(spaces: Mapping[str, Space]) -> bool:
    """Whether spaces are of one frame that is served as it is."""
    frames = {space.frame for space in spaces.values()}
    return len(frames) == 1 and next(iter(frames)).score == "cosine"


def _pairless(method: Any) -> bool:
    """Whether a method finds its own pairs, so that those given may be few or none."""
    if isinstance(method, str) and method != "auto":
        method = catalogue.find("aligner", method).load()
    return bool(getattr(method, "pairless", False))


def require_enough(pairs: Pairs, names: Iterable[str]) -> None:
    """Refuse a view that too few lines reach."""
    for name in names:
        count = int((pairs.column(name) >= 0).sum())
        if count < FEWEST:
            raise ConjoinError(
                f"modality {name}", f"{count} training pairs", f"give at least {FEWEST}"
            )


def _fit_choice(spaces: Mapping[str, Space], pairs: Pairs, choice: Choice, seed: int) -> Binding:
    order = [choice.hub, *(name for name in spaces if name != choice.hub)]
    views = {name: spaces[name].vectors for name in order}
    frames = {name: spaces[name].frame.id for name in order}
    aligner = choice.make()
    fitted = aligner.fit(views, pairs.select(order), frames=frames, seed=seed)
    return Binding.placed(fitted, spaces, pairs, choice, seed)


def finished(item: Any, frame: Frame) -> Any:
    """Bound vectors are stored at unit length where cosine scores them."""
    if frame.score != "cosine" or (
        isinstance(item, Chain) and isinstance(item.maps[-1], Normalise)
    ):
        return item
    return item.between(None, None).then(Normalise())


def _mint(
    fitted: Mapping[str, Any],
    choice: Choice,
    aligner: Any,
    spaces: Mapping[str, Space],
    pairs: Pairs,
    seed: int,
) -> Frame:
    hub = spaces[choice.hub]
    probe = hub.take(np.arange(1)).vectors
    placed = apply_rows(fitted[choice.hub], probe)
    dim = placed.dim if isinstance(placed, Tokens) else int(placed.shape[-1])
    plain = is_dataclass(aligner) and not isinstance(aligner, type)
    recipe = {
        "method": hashed(choice.method),
        "fields": asdict(aligner) if plain else {},
        "seed": seed,
        "hub": choice.hub,
        "pairs": pairs_digest(spaces, pairs),
        "sources": {name: spaces[name].frame.id for name in sorted(spaces)},
    }
    if _pairless(aligner):
        recipe["rows"] = {name: _rows_digest(spaces[name]) for name in sorted(spaces)}
    label = f"{choice.method} of {', '.join(spaces)}"
    # A curvature that was learned is the map's to tell; so is how its outputs are scored.
    score = getattr(aligner, "score", score_of(fitted[choice.hub]))
    curvature = getattr(stages(fitted[choice.hub])[-1], "curvature", None)
    # Ids keep the word that they were minted with when an aligner was called so.
    return Frame.mint("binder", label, dim, recipe, score=score, curvature=curvature)


def _rows_digest(space: Space) -> str:
    """A hash of the cells of a view, whatever their order: all decide a fit without pairs."""
    cells = zip(space.ids, space.parts, space.content, strict=True)
    return digest("\n".join(sorted(f"{i}:{part}:{cell}" for i, part, cell in cells)).encode())


def pairs_digest(spaces: Mapping[str, Space], pairs: Pairs) -> str:
    """A hash of which cells are paired, whatever the order of rows and lines.

    A cell that changed gives another hash: maps fitted to it are others, so is their frame.
    """
    lines = []
    for line, weight in zip(pairs.rows, pairs.weight, strict=True):
        cells = [
            f"{name}:{spaces[name].ids[row]}:{spaces[name].parts[row]}:{spaces[name].content[row]}"
            for name, row in zip(pairs.names, line, strict=True)
            if row >= 0
        ]
        lines.append("|".join(sorted(cells)) + f"*{weight:.6g}")
    return digest("\n".join(sorted(lines)).encode())


def _same_map(path: Path, item: Any) -> bool:
    if not path.exists():
        return False
    old = load_map(path)
    if (old.source, old.target) != (item.source, item.target):
        return False
    (fields, arrays), (others, held) = item.state(), old.state()
    return (
        fields == others
        and arrays.keys() == held.keys()
        and all(np.array_equal(arrays[key], held[key]) for key in arrays)
    )
