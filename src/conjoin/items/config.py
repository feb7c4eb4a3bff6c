"""The workspace file ``conjoin.toml``."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from conjoin.errors import ConjoinError, nearest
from conjoin.items.moments import MOST, Cut
from conjoin.storage.files import atomic
from conjoin.storage.renamed import current

#: Version of the file's form.
VERSION = 1
NAME = "conjoin.toml"

#: What turns a file of an older version into one of the next.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

Text = Annotated[str, StringConstraints(min_length=1)]
#: A modality's name also names its folder of state.
ModalityName = Annotated[str, StringConstraints(pattern=r"^\w[\w .-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ItemsPart(_Part):
    """Where the items are."""

    table: Text = Field(description="Table or folder of items, relative to this file.")
    id: Text | None = Field(default=None, description="Column of unique ids; row number otherwise.")
    folders: list[Text] = Field(
        default_factory=list,
        description="Folders beside the table's own whose files its cells may name.",
    )
    hosts: list[Text] = Field(
        default_factory=list,
        description="Hosts of this machine or of private networks that cells may name; * is all.",
    )


class ModalityPart(_Part):
    """What an encoder reads."""

    column: Text | list[Text] = Field(
        description="Column of cells; several for an encoder of table rows."
    )
    encoder: Text = Field(description="URI of the encoder: builtin:text, hf:NAME, st:NAME…")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="Where the encoder's network runs; changes no frame. auto: an accelerator "
        "where there is one.",
    )
    parts: Literal["each", "mean", "first", "sum", "peak"] = Field(
        default="each",
        description="How an item of several parts is scored: by the best of each, or by one vector"
        " pooled from them.",
    )

    every: float | None = Field(
        default=None,
        ge=0.001,
        le=86_400,
        description="The cells are videos or long sounds, and each part is a moment of one: a"
        " picture, or a stretch of sound so long, every so many seconds.",
    )
    most: int = Field(
        default=MOST, ge=1, description="Moments of one recording, at most, with every."
    )

    @field_validator("column")
    @classmethod
    def _some_column(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("names no column")
        return value

    @model_validator(mode="after")
    def _most_of_moments(self) -> "ModalityPart":
        if self.every is None and "most" in self.model_fields_set:
            raise ValueError("has most but no every: say how many seconds lie between moments")
        return self

    @property
    def cut(self) -> Cut | None:
        """How its recordings are cut into moments; ``None`` where its cells are no recordings."""
        return None if self.every is None else Cut(self.every, self.most)


class PairsPart(_Part):
    """Which cells of two modalities are pairs, in place of those within a row.

    Without a table it is those within a row, and then of the couples so named alone.
    """

    table: Text | None = Field(
        default=None, description="Table of pairs, relative to this file; cells of a row if none."
    )
    left: ModalityName = Field(description="A modality; also the column of its item ids.")
    right: ModalityName = Field(description="Another modality; also the column of its item ids.")
    weight: Text | None = Field(default=None, description="Column of trust in each pair, above 0.")

    @model_validator(mode="after")
    def _weighed_by_table(self) -> "PairsPart":
        if self.table is None and self.weight is not None:
            raise ValueError("has a weight column but no table to find it in")
        return self


class SplitPart(_Part):
    """What is held out to judge by."""

    test: float | int = Field(
        default=0.2, description="Share of the items in (0, 1), or their number."
    )
    column: Text | None = Field(
        default=None, description="Column that says train, val or test instead."
    )
    group: Text | None = Field(default=None, description="Column of groups that are never split.")
    seed: int = Field(default=0, ge=0)

    @field_validator("test")
    @classmethod
    def _in_range(cls, value: float | int) -> float | int:
        if value >= 1 if isinstance(value, int) else 0 < value < 1:
            return value
        raise ValueError("is neither a share between 0 and 1 nor a number of items")

    @model_validator(mode="after")
    def _one_way(self) -> "SplitPart":
        if self.column is not None and "test" in self.model_fields_set:
            raise ValueError("has both test and column: keep one")
        return self


class FitPart(_Part):
    """How the modalities are bound."""

    method: Text = Field(
        default="auto", description="An aligner of the catalogue; auto chooses one."
    )
    hub: ModalityName | None = Field(default=None, description="Modality the others are mapped to.")
    fields: dict[str, Any] = Field(default_factory=dict, description="The method's settings.")
    among: list[Text] | None = Field(
        default=None,
        min_length=1,
        description="What auto chooses among where conjoin compare has not; all when absent.",
    )

    @field_validator("method")
    @classmethod
    def _named_now(cls, value: str) -> str:
        return current(value)

    @field_validator("among")
    @classmethod
    def _all_named_now(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [current(name) for name in value]


class IndexPart(_Part):
    """What a search scans and how."""

    storage: Literal["float32", "float16", "int8", "binary"] = Field(
        default="float32", description="What is scanned; candidates are ranked by float32."
    )
    prefix: int | None = Field(
        default=None, ge=1, description="Scan the first so many dimensions only."
    )
    funnel: bool = Field(
        default=False, description="Narrow the candidates of a prefix by ever longer ones."
    )
    engine: Literal["auto", "exact", "faiss", "lance"] = Field(
        default="auto", description="What finds candidates; auto decides by size and recall."
    )

    @model_validator(mode="after")
    def _funnel_of_prefix(self) -> "IndexPart":
        if self.funnel and self.prefix is None:
            raise ValueError("has a funnel but no prefix to start from")
        return self


class RelevancePart(_Part):
    """Columns that say which items answer a query beside its own partner.

    Items of the same label are relevant to each other, and those that share a keyword; with groups
    those that share a keyword must be of one group.
    """

    labels: Text | None = Field(default=None, description="Column of labels, such as a class.")
    keywords: Text | None = Field(
        default=None, description="Column of keywords: lists, or texts with commas."
    )
    groups: Text | None = Field(default=None, description="Column of groups, such as a topic.")


class Config(_Part):
    """A workspace: its items, modalities, pairs, split, fit, index and relevance.

    Examples
    --------
    >>> text = {"column": "caption", "encoder": "builtin:text"}
    >>> config = Config.of({"items": {"table": "items.csv"}, "modalities": {"text": text}})
    >>> config.modalities["text"].column
    'caption'
    """

    version: int = VERSION
    items: ItemsPart
    modalities: dict[ModalityName, ModalityPart] = Field(min_length=1)
    pairs: dict[Text, PairsPart] = Field(default_factory=dict)
    split: SplitPart = SplitPart()
    fit: FitPart = FitPart()
    index: IndexPart = IndexPart()
    relevance: RelevancePart = RelevancePart()
    _path: Path = PrivateAttr(default=Path(NAME))

    @property
    def path(self) -> Path:
        """The file this was read from."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder that paths are relative to."""
        return self._path.parent

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read a ``conjoin.toml``, or the one of a folder.

        Raises
        ------
        ConjoinError : it is missing, not TOML, newer, or says something that is not known.
        """
        path = Path(path)
        path = path / NAME if path.is_dir() else path
        if not path.exists():
            raise ConjoinError(str(path), "no such file", "run: conjoin init TABLE")
        try:
            text = path.read_text(encoding="utf-8-sig")  # as Windows' editors write it
            values = tomllib.loads(text)
        except UnicodeDecodeError:
            raise ConjoinError(str(path), "is not UTF-8", "save it as UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise ConjoinError(str(path), f"is not TOML: {error}", "correct that line") from None
        except RecursionError:
            raise ConjoinError(str(path), "is nested too deeply", "flatten it") from None
        except OSError as error:
            said = (error.strerror or "cannot be read").lower()
            raise ConjoinError(str(path), said, "check the file and its rights") from None
        except ValueError as error:  # a number of more digits than Python reads, a date of no day
            raise ConjoinError(str(path), f"cannot be read: {error}", "correct it") from None
        return cls.of(values, path, text)

    @classmethod
    def of(cls, values: Mapping[str, Any], path: Path = Path(NAME), text: str = "") -> "Config":
        """A workspace of values as TOML gives them.

        Parameters
        ----------
        path : the file they stand for; other paths are relative to its folder.
        text : the file's text, so that errors can name the line.

        Raises
        ------
        ConjoinError : as :meth:`load`.
        """
        values = _migrate(dict(values), path)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise _explain(error, values, path, text) from None
        config._path = path
        _check_names(config, path, text)
        return config

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema of the file, for editors."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": NAME,
            **{k: v for k, v in cls.model_json_schema().items() if k != "title"},
        }


def write_schema(path: Path) -> None:
    """Write the JSON schema of ``conjoin.toml``."""
    with atomic(path) as file:
        file.write((json.dumps(Config.json_schema(), indent=2, ensure_ascii=False) + "\n").encode())


def _migrate(values: dict[str, Any], path: Path) -> dict[str, Any]:
    version = values.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version > VERSION:
        raise ConjoinError(
            f"{path}: version", f"{version!r}, this conjoin reads up to {VERSION}",
            "upgrade conjoin" if isinstance(version, int) else f"write version = {VERSION}",
        )  # fmt: skip
    while version < VERSION:
        if version not in MIGRATIONS:
            raise ConjoinError(
                f"{path}: version", f"{version} is older than any this conjoin reads",
                f"write version = {VERSION} and correct what is then refused",
            )  # fmt: skip
        values = MIGRATIONS[version](values)
        version += 1
    return {**values, "version": VERSION}


def _check_names(config: Config, path: Path, text: str) -> None:
    known = config.modalities
    for name, part in config.pairs.items():
        for side in ("left", "right"):
            modality = getattr(part, side)
            if modality not in known:
                raise ConjoinError(
                    _place(path, text, ("pairs", name, side)), f"no modality {modality!r}",
                    nearest(modality, known),
                )  # fmt: skip
        if part.left == part.right:
            raise ConjoinError(
                _place(path, text, ("pairs", name, "right")), f"{part.right!r} on both sides",
                "pair two modalities",
            )  # fmt: skip
    if config.fit.hub is not None and config.fit.hub not in known:
        raise ConjoinError(
            _place(path, text, ("fit", "hub")), f"no modality {config.fit.hub!r}",
            nearest(config.fit.hub, known),
        )  # fmt: skip


def _explain(
    error: ValidationError, values: Mapping[str, Any], path: Path, text: str
) -> ConjoinError:
    first = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
    loc = _known_part(first["loc"], values)
    where = _place(path, text, loc)
    if first["type"] == "extra_forbidden":
        return ConjoinError(where, "unknown key", nearest(str(loc[-1]), _keys(loc[:-1])))
    if first["type"] == "missing":
        return ConjoinError(where, "is missing", "add it")
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if "pattern" in message:
        return ConjoinError(where, "is no name", "use letters, digits, space, dot, - and _")
    return ConjoinError(where, message, "correct it")


def _known_part(loc: tuple[int | str, ...], values: Any) -> tuple[str, ...]:
    """The steps of a place that the file has, less those of pydantic's own (union branches)."""
    steps: list[str] = []
    for step in loc:
        steps.append(str(step))
        if not isinstance(values, Mapping) or step not in values:
            # A missing key is the last step; a branch of a union follows a value.
            return tuple(steps if isinstance(values, Mapping) else steps[:-1])
        values = values[step]
    return tuple(steps)


def _keys(loc: tuple[str, ...]) -> list[str]:
    parts: dict[str, type[BaseModel]] = {
        "items": ItemsPart, "modalities": ModalityPart, "pairs": PairsPart,
        "split": SplitPart, "fit": FitPart, "index": IndexPart,
        "relevance": RelevancePart,
    }  # fmt: skip
    return list((parts[loc[0]] if loc else Config).model_fields)


def _place(path: Path, text: str, loc: tuple[str, ...]) -> str:
    """``file:line: [section] key``, the line where it can be told."""
    header: tuple[str, ...] = ()
    line_of_header = found = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.split("#")[0].strip()
        if bare.startswith("[") and bare.endswith("]"):
            header = tuple(part.strip(" \"'") for part in bare.strip("[]").split("."))
            line_of_header = number if header in (loc, loc[:-1]) else line_of_header
        elif header == loc[:-1] and bare.partition("=")[0].strip(" \"'") == loc[-1]:
            found = number
    number = found or line_of_header
    section = f"[{'.'.join(loc[:-1])}] " if len(loc) > 1 else ""
    return f"{path}{f':{number}' if number else ''}: {section}{loc[-1] if loc else ''}".strip()
