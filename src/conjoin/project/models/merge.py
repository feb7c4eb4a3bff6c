"""Merge checkpoints: the plan before anything is read, the merge, and its card."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.models.checkpoint import Checkpoint
from conjoin.models.merging.base import BLOCK, Models, TensorMerge, check_count
from conjoin.models.merging.check import check_alike, check_tokenizers
from conjoin.models.merging.explain import Layer, explain
from conjoin.models.merging.folder import folder_of
from conjoin.models.merging.run import Merged, describe, merge
from conjoin.storage.files import atomic, write_json

#: What is merged by where nothing is asked for and there are no pairs to choose by.
DEFAULT = "task-arithmetic"
_LICENCE = re.compile(r"^license:\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class MergeAsk:
    """What is to be merged.

    Parameters
    ----------
    experts, base : folders or URIs.
    method : a row of kind ``tensor-merge``, or ``auto``.
    settings : of the method.
    out : folder of the result, if it is to be kept.
    seed : decides random masks and draws.
    """

    experts: tuple[str, ...]
    base: str
    method: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    seed: int = 0

    @property
    def sources(self) -> list[Path]:
        """Folders of the base and of the experts."""
        return [folder_of(self.base), *map(folder_of, self.experts)]

    @property
    def named(self) -> str:
        """The method's name."""
        return DEFAULT if self.method == "auto" else self.method

    def engine(self) -> TensorMerge:
        """The method with its settings."""
        made: TensorMerge = catalogue.find("tensor-merge", self.named).make(self.settings)
        return made


@dataclass(frozen=True)
class MergePlan:
    """What a merge will read and write.

    Parameters
    ----------
    tensors, numbers : of one model; ``copied`` of the tensors are no floating numbers.
    read, written, memory : bytes; read at least, several passes where a method looks first.
    dtypes : by name, how many tensors have it in the base.
    trained : by expert, share of its numbers that differ from the base's; ``None`` before a look.
    parents : label, hash and licence of base and experts.
    """

    tensors: int
    numbers: int
    copied: int
    read: int
    written: int
    memory: int
    dtypes: Mapping[str, int]
    parents: tuple[Mapping[str, str], ...]
    differs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tensors": self.tensors, "numbers": self.numbers, "copied": self.copied,
            "bytes_read": self.read, "bytes_written": self.written, "memory": self.memory,
            "dtypes": dict(self.dtypes), "parents": list(map(dict, self.parents)),
            "differs": list(self.differs),
        }  # fmt: skip


def plan(ask: MergeAsk) -> MergePlan:
    """Check that everything fits together, and say what it takes; nothing is written.

    Raises
    ------
    ConjoinError : models, tokenizers or settings that do not fit.
    """
    sources = ask.sources
    opened = [Checkpoint.open(folder) for folder in sources]
    try:
        engine = ask.engine()
        check_count(ask.named, engine, len(ask.experts))
        check_alike(opened[0], opened[1:])
        check_tokenizers(sources[0], sources[1:])
        base, *experts = opened
        for place, expert in enumerate(experts):
            if expert.hash == base.hash:
                raise ConjoinError(str(ask.experts[place]), "is the base itself", "leave it out")
        kinds: dict[str, int] = {}
        for entry in base.entries.values():
            kinds[entry.dtype] = kinds.get(entry.dtype, 0) + 1
        largest = max(entry.size for entry in base.entries.values())
        held = (largest if engine.whole else min(largest, BLOCK)) * 8 * (3 + 3 * len(experts))
        return MergePlan(
            len(base.entries), sum(entry.size for entry in base.entries.values()),
            sum(not entry.floating for entry in base.entries.values()),
            sum(one.total for one in opened), base.total, held + 32 * 2**20, kinds,
            tuple(map(parent, (ask.base, *ask.experts), sources, opened)),
            tuple(filter(None, (_differs(sources[0], folder) for folder in sources[1:]))),
        )  # fmt: skip
    finally:
        for one in opened:
            one.close()


def parent(label: str, folder: Path, opened: Checkpoint) -> dict[str, str]:
    """What a card says of a model it came from."""
    return {"model": Path(label).name or label, "hash": opened.hash, "licence": licence(folder)}


def licence(folder: Path) -> str:
    """The licence that a model's own files name; ``not said`` where they do not."""
    for name in ("README.md", "card.md"):
        path = folder / name
        if path.is_file():
            found = _LICENCE.search(path.read_text("utf-8", errors="replace"))
            if found:
                return found.group(1)
    return "not said"


def _differs(base: Path, expert: Path) -> str:
    """Which of the files beside the weights are another than the base's."""
    names = ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
    apart = [n for n in names if _read(base / n) != _read(expert / n)]
    return f"{expert.name}: {', '.join(apart)}" if apart else ""


def _read(path: Path) -> Any:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    stamps = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")
    return {k: v for k, v in said.items() if k not in stamps} if isinstance(said, dict) else said


def explained(ask: MergeAsk) -> list[Layer]:
    """How the experts differ, layer by layer; nothing is written.

    Raises
    ------
    ConjoinError : models that do not fit together.
    """
    opened = [Checkpoint.open(folder) for folder in ask.sources]
    try:
        check_alike(opened[0], opened[1:])
        return explain(Models(opened[0], opened[1:]))
    finally:
        for one in opened:
            one.close()


def run(ask: MergeAsk, found: MergePlan, progress: Callable[[str, int, int], None]) -> Merged:
    """Merge into the folder asked for, and write its card.

    Raises
    ------
    ConjoinError : no folder was named, it exists, or the disk is full.
    """
    if ask.out is None:
        raise ConjoinError("--out", "no folder", "name the folder of the result: --out DIR")
    made = merge(ask.base, ask.experts, ask.engine(), ask.out, seed=ask.seed, progress=progress)
    write_card(made, found, None)
    return made


def write_card(made: Merged, found: MergePlan, verdict: Mapping[str, Any] | None) -> None:
    """``card.md`` for people and ``merge.json`` for programs: parents, method, measures."""
    parents = [dict(one) for one in found.parents]
    write_json(made.folder / "merge.json", {
        "method": dict(made.method), "notes": dict(made.notes), "base": parents[0],
        "experts": parents[1:], "verdict": verdict,
    })  # fmt: skip
    settings = ", ".join(f"{k}={v}" for k, v in made.method.items() if k != "engine")
    lines = [
        f"# {made.folder.name}", "",
        f"Merged by conjoin: {made.method['engine']} ({settings}).", "",
        "| parent | hash | licence |", "|---|---|---|",
        *(
            f"| {'base: ' if not place else ''}{one['model']} | {one['hash']} | {one['licence']} |"
            for place, one in enumerate(parents)
        ), "",
    ]  # fmt: skip
    lines += [f"{key}: {value:,}" for key, value in made.notes.items()]
    if verdict is not None:
        lines += ["", "| arm | metric | value | 95 % | cost |", "|---|---|---|---|---|"]
        lines += [
            f"| {arm['name']} | {arm['metric']} | {arm['value']:.3f} | "
            f"{arm['low']:.3f} to {arm['high']:.3f} | {arm['cost']:.1f} |"
            for arm in verdict["arms"]
        ]
        lines += ["", str(verdict["verdict"])]
    with atomic(made.folder / "card.md") as file:
        file.write(("\n".join(lines) + "\n").encode())


def with_method(ask: MergeAsk, method: str, settings: Mapping[str, Any]) -> MergeAsk:
    """The same models merged otherwise."""
    return replace(ask, method=method, settings=settings)


def settings_of(method: str, given: Sequence[str]) -> dict[str, Any]:
    """Settings as typed: ``scale=0.5``, ``trim=random``.

    Raises
    ------
    ConjoinError : one without a value.

    >>> settings_of("ties", ["scale=1.5", "scope=tensor"])
    {'scale': 1.5, 'scope': 'tensor'}
    """
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConjoinError("--set", repr(text), "write NAME=VALUE, as in scale=0.5")
        try:
            number = float(value)
            found[key] = int(number) if value.lstrip("-").isdigit() else number
        except ValueError:
            found[key] = value
    return found


def described(ask: MergeAsk) -> dict[str, Any]:
    """The method and its settings."""
    return {"method": ask.named, **describe(ask.engine())}
