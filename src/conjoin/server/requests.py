"""What a client may send, read without trust and checked against the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from conjoin.errors import nearest
from conjoin.server.limits import Limits, Problem, brief

#: Largest number of a vector.
MOST = 1e6
Number = Annotated[FiniteFloat, Field(ge=-MOST, le=MOST)]
Vector = Annotated[list[Number], Field(min_length=1, max_length=65_536)]
Words = Annotated[str, Field(min_length=1)]
#: Words that hold something; as every dialect of patterns reads it.
NOT_BLANK = r"\S"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A whole number, as JSON has it: 2.0 is 2.
Whole = Annotated[int, BeforeValidator(_whole)]


class Part(BaseModel):
    """One thing to look for: exactly one of ``text``, ``item`` and ``vector``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Words | None = Field(None, description="Words, read by a text modality.")
    item: Words | None = Field(None, description="An item's id: what is like its own cell.")
    vector: Vector | None = Field(None, description="A vector; its frame must be named.")
    frame: Words | None = Field(None, description="Id of the vector's frame.")
    source: Words | None = Field(
        None, description="The modality that reads it; chosen by itself otherwise."
    )


class Term(Part):
    """A part of a composed query."""

    weight: FiniteFloat = Field(
        1.0, ge=-100, le=100, description="How much it counts; below 0 asks for what is unlike it."
    )


class SearchBody(Part):
    """A search: one thing to look for, or several ``terms``."""

    terms: list[Term] | None = Field(None, min_length=1, description="Parts that are composed.")
    into: list[Words] = Field(
        default_factory=list, max_length=64,
        description="Modalities to find; all of them, with a mixed list, where empty.",
    )  # fmt: skip
    k: Whole = Field(10, ge=1, description="Hits a list.")
    where: Words | None = Field(
        None, description="A filter on metadata, such as family=hearts and year>=2010."
    )
    combine: Words | None = Field(None, description="How terms make one query; sum.")
    fusion: Words | None = Field(
        None, description="What mixes vectors with words; none; what was tuned where absent."
    )
    exclude: list[Words] = Field(
        default_factory=list, max_length=200, description="Ids of items to leave out."
    )


class UploadBody(SearchBody):
    """Beside an uploaded file: the file is a term of weight ``weight``; others may be added."""

    weight: FiniteFloat = Field(1.0, ge=-100, le=100, description="How much the file counts.")


class EmbedBody(Part):
    """One thing to be given a vector in the joint frame."""


class ExplainBody(Part):
    """One thing that was looked for, and the item that was found."""

    hit: Words = Field(description="Id of the item found.")
    into: Words | None = Field(None, description="The modality it was found in.")
    pairs: Whole = Field(5, ge=1, le=50, description="Training pairs to name.")


class UploadEmbedBody(BaseModel):
    """Beside an uploaded file to embed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Words | None = Field(None, description="The modality that reads it.")


@dataclass(frozen=True, eq=False)
class Piece:
    """A term as it is answered: ``cell`` is words or bytes, read as ``kind``."""

    kind: str
    cell: Any
    weight: float = 1.0
    source: str | None = None
    frame: str | None = None


@dataclass(frozen=True, eq=False)
class Ask:
    """A checked search, ready for a batch; without ``into`` every modality is a target."""

    pieces: tuple[Piece, ...]
    into: tuple[str, ...] = ()
    k: int = 10
    where: str | None = None
    exclude: tuple[str, ...] = ()
    combine: str | None = None
    fusion: str | None = None
    only_vector: bool = False
    hit: ExplainBody | None = None

    @property
    def words(self) -> str | None:
        """The first words that are wanted."""
        said = (p.cell for p in self.pieces if p.kind == "text" and p.weight > 0)
        return next(said, None)

    @property
    def items(self) -> tuple[str, ...]:
        """The items it names."""
        return tuple(piece.cell for piece in self.pieces if piece.kind == "item")


def parsed(data: bytes, model: type[BaseModel], limits: Limits) -> Any:
    """A JSON body as a model.

    Deep nesting, NaN, infinity and lone surrogates are refused by the parser itself.

    Raises
    ------
    Problem : it is no JSON, too large, or an argument is wrong.
    """
    if len(data) > limits.json_mb * 1e6:
        found = f"{len(data)} bytes of JSON, more than {limits.json_mb:g} MB"
        raise Problem("too-large", "body", found, "send less")
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Problem("malformed", "body", f"no JSON: {brief(str(error))}", "send JSON") from None
    if not isinstance(value, dict):
        raise Problem("bad-argument", "body", "no JSON object", 'send {"text": "a cat"}')
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise told(error.errors(include_url=False, include_context=False), model) from None


def told(errors: Any, model: type[BaseModel] | None = None) -> Problem:
    """The first of pydantic's errors as a problem."""
    first = errors[0]
    place = [str(step) for step in first["loc"] if step not in ("body", "query", "path")]
    argument = ".".join(place) or "body"
    if first["type"] == "extra_forbidden" and model is not None:
        known = Term.model_fields if place[0] == "terms" else model.model_fields
        near = nearest(place[-1], known)
        return Problem("bad-argument", argument, "is not an argument here", near)
    found = "is missing" if first["type"] == "missing" else brief(repr(first.get("input")), 60)
    remedy = str(first["msg"]).replace("Input should", "it should").replace("Value error, ", "")
    return Problem("bad-argument", argument, found, remedy)


def piece_of(part: Part, weight: float, where: str) -> Piece | None:
    """The thing a part names; ``None`` where it names none.

    Raises
    ------
    Problem : it names several, or a vector without its frame.
    """
    given = [name for name in ("text", "item", "vector") if getattr(part, name) is not None]
    if len(given) > 1:
        raise Problem(
            "bad-argument", where, f"{' and '.join(given)} at once", "give one, or use terms"
        )
    if part.frame is not None and given != ["vector"]:
        raise Problem("bad-argument", "frame", "there is no vector", "leave frame out")
    if not given:
        return None
    if given == ["vector"] and part.frame is None:
        raise Problem(
            "bad-argument", "frame", "is missing beside vector", "name the vector's frame"
        )
    value = getattr(part, given[0])
    if given[0] == "text" and not value.strip():
        raise Problem("bad-argument", "text", "is blank", "give words")
    if given[0] == "vector" and not any(value):
        raise Problem("bad-argument", "vector", "is zero", "give another")
    if weight == 0:
        raise Problem("bad-argument", "weight", "is 0", "give another, or leave the term out")
    return Piece(given[0], value, float(weight), part.source, part.frame)


def ask_of(body: SearchBody, limits: Limits, file: Piece | None = None) -> Ask:
    """A search of a body, and of an uploaded file beside it.

    Raises
    ------
    Problem : nothing or too much is looked for, or a limit is passed.
    """
    pieces = [file] if file is not None else []
    own = piece_of(body, 1.0, "query")
    if own is not None:
        if file is not None or body.terms:
            raise Problem("bad-argument", own.kind, "stands beside other terms", "put it in terms")
        pieces.append(own)
    for place, term in enumerate(body.terms or ()):
        piece = piece_of(term, term.weight, f"terms.{place}")
        if piece is None:
            raise Problem(
                "bad-argument", f"terms.{place}", "names nothing", "give text, item or vector"
            )
        pieces.append(piece)
    if not pieces:
        raise Problem(
            "bad-argument", "query", "nothing to look for", "give text, item, vector or terms"
        )
    if not any(piece.weight > 0 for piece in pieces):
        raise Problem("bad-argument", "terms", "all are not wanted", "give one a weight above 0")
    _within("terms", len(pieces), limits.terms, "terms")
    _within("k", body.k, limits.k, "hits")
    named = (body.where, body.combine, body.fusion, body.source, body.frame)
    every = [*named, *body.exclude, *body.into, *_strings(pieces)]
    long = [text for text in every if text is not None] or [""]
    if any(text and not text.strip() for text in long):
        raise Problem("bad-argument", "query", "a name that is blank", "leave it out")
    _within("query", max(map(len, long)), limits.text, "characters")
    return Ask(
        tuple(pieces), tuple(dict.fromkeys(body.into)), body.k, body.where, tuple(body.exclude),
        body.combine, body.fusion,
    )  # fmt: skip


def _strings(pieces: list[Piece]) -> list[str]:
    held = [piece.cell for piece in pieces if isinstance(piece.cell, str)]
    return held + [n for piece in pieces for n in (piece.source, piece.frame) if n is not None]


def _within(argument: str, found: int, most: int, what: str) -> None:
    if found > most:
        raise Problem("bad-argument", argument, f"{found} {what}, more than {most}", "ask for less")


def schema_of(model: type[BaseModel], limits: Limits) -> dict[str, Any]:
    """The JSON schema of a body, with the limits in force and the rules between its fields.

    What it allows is refused only for what the index holds: names, ids, frames, filters.
    """
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    term = schema.pop("$defs", {}).get("Term")
    for part in (schema, term or {}):
        for name, entry in part.get("properties", {}).items():
            _limited(name, entry, limits)
    for name in {"terms"} & set(schema["properties"]):
        own = _list_of(schema["properties"][name])
        own |= {"maxItems": limits.terms - (1 if model is UploadBody else 0), "items": term}
    if term:
        term.update(_one_of(("text", "item", "vector")))
    if model is UploadBody:
        unwanted = {"required": ["weight"], "properties": {"weight": {"exclusiveMaximum": 0}}}
        some = {"required": ["terms"], "properties": {"terms": {"type": "array", **_WANTED}}}
        schema["allOf"] = [
            *({"not": _given(name)} for name in (*ONE, "frame")), {"if": unwanted, "then": some},
        ]  # fmt: skip
    elif issubclass(model, SearchBody):
        schema.update(_one_of((*ONE, "terms")))
        _list_of(schema["properties"]["terms"]).update(_WANTED)
    elif issubclass(model, Part):
        schema.update(_one_of(ONE))
    return schema


def _limited(name: str, entry: dict[str, Any], limits: Limits) -> None:
    """Write what is refused of one field, whatever the others are, into its schema."""
    if name == "k":
        entry["maximum"] = limits.k
    if name == "weight":
        entry["not"] = {"const": 0}
    if name == "vector":
        _list_of(entry)["contains"] = {"not": {"const": 0}}
    _bounded(entry, limits.text)


#: What a part may be; one of them.
ONE = ("text", "item", "vector")
#: Terms of which one is wanted.
_WANTED = {"contains": {"properties": {"weight": {"exclusiveMinimum": 0}}}}
#: Types of fields that must be given, not null.
_TYPES = {"vector": "array", "terms": "array"}


def _given(name: str) -> dict[str, Any]:
    """A field that is there and is not null."""
    return {"required": [name], "properties": {name: {"type": _TYPES.get(name, "string")}}}


def _one_of(names: Sequence[str]) -> dict[str, Any]:
    """Exactly one of some fields; a frame beside a vector, and there alone."""
    vector, frame = _given("vector"), _given("frame")
    return {
        "oneOf": [_given(name) for name in names],
        "if": vector, "then": frame, "else": {"not": frame},
    }  # fmt: skip


def _list_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The part of a field's schema that is a list."""
    found: dict[str, Any] = next(c for c in entry["anyOf"] if c.get("type") == "array")
    return found


def _bounded(entry: dict[str, Any], most: int) -> None:
    for choice in [*entry.get("anyOf", ()), entry, entry.get("items", {})]:
        if isinstance(choice, dict) and choice.get("type") == "string":
            choice |= {"maxLength": most, "pattern": NOT_BLANK}
