"""From a URI to an encoder."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from conjoin.catalogue import Row, of_kind
from conjoin.encoders.base import Encoder, Prepared
from conjoin.errors import ConjoinError, nearest
from conjoin.spaces.cache import cache_folder as cache_folder

#: Kinds of cell of encoders that need no opening to know it.
_KINDS = {"image": "image", "audio": "audio", "aisfx": "audio", "table": "table",
          "series": "series", "vector": "vector"}  # fmt: skip


def parse(uri: str) -> tuple[Row, str, dict[str, str]]:
    """A URI's catalogue row, what follows the scheme, and its options.

    ``builtin:name`` or ``scheme:rest``, then ``?option=value&…``.

    Raises
    ------
    ConjoinError : no such scheme or builtin encoder, or an option is torn or given twice.

    Examples
    --------
    >>> row, rest, options = parse("hf:org/clip?tower=image&layer=-2")
    >>> row.name, rest, options
    ('hf', 'org/clip', {'tower': 'image', 'layer': '-2'})
    """
    if not isinstance(uri, str):
        raise ConjoinError("encoder", f"is a {type(uri).__name__}", "give a URI: builtin:text")
    address, _, query = uri.partition("?")
    scheme, colon, rest = address.partition(":")
    known = of_kind("encoder")
    name = address if scheme == "builtin" else scheme
    if not colon or name not in known:
        raise ConjoinError(f"encoder {uri!r}", "is unknown", nearest(name, known))
    if scheme != "builtin" and not rest:
        raise ConjoinError(f"encoder {uri!r}", "names nothing", f"write {scheme}:NAME")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConjoinError(
            f"encoder {uri!r}", f"options {query!r}", "write ?option=value&option=value"
        ) from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ConjoinError(f"encoder {uri!r}", "an option is given twice", "give it once")
    return known[name], "" if scheme == "builtin" else rest, options


def open_encoder(
    uri: str,
    *,
    cells: Callable[[], Iterable[Any]] | None = None,
    cache: Path | None = None,
    device: str = "auto",
) -> Encoder:
    """Open the encoder a URI names.

    Parameters
    ----------
    cells : gives the column's cells, for encoders that look at their data once.
    cache : folder of exported models; :func:`cache_folder` by default.
    device : where a network runs: ``auto``, ``cpu``, ``cuda`` or ``mps``, unless the URI says so;
        no part of the encoder's name or frame.

    Raises
    ------
    ConjoinError : unknown scheme, name or option, or the encoder must see cells and gets none.
    MissingDependency : the encoder's packages are not installed.
    """
    encoder = _open(uri, cache, device)
    if isinstance(encoder, Prepared) and not encoder.state():
        if cells is None:
            raise ConjoinError(
                f"encoder {uri}", "must look at its column first", "give cells=, or its state"
            )
        return encoder.prepare(cells())
    return encoder


def restore(
    uri: str, state: Mapping[str, Any], *, cache: Path | None = None, device: str = "auto"
) -> Encoder:
    """Open an encoder as it was when :func:`state_of` was taken."""
    encoder = _open(uri, cache, device)
    if not isinstance(encoder, Prepared):
        return encoder
    try:
        return encoder.from_state(state)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConjoinError):
            raise
        raise ConjoinError(f"encoder {uri}", f"state lacks {error}", "embed again") from None


def state_of(encoder: Encoder) -> dict[str, Any]:
    """What an encoder saw of its data, JSON-able; empty for those that never look."""
    return encoder.state() if isinstance(encoder, Prepared) else {}


def kind_of(uri: str) -> str:
    """The kind of cell an encoder reads; opens it only where the URI does not say."""
    row, _, options = parse(uri)
    if row.name.startswith("builtin:"):
        return _KINDS.get(row.name.partition(":")[2], "text")
    if "kind" in options:
        return options["kind"]
    if row.name in ("http", "https", "python"):  # code is not run to be looked at
        return "text"
    if options.get("tower") in ("text", "image", "audio"):
        return options["tower"]
    return str(_open(uri, None, "cpu").kind)


def towers(uri: str, *, cache: Path | None = None) -> dict[str, str]:
    """By kind of cell, the URI of each encoder that shares this one's frame, itself among them.

    Of a joint model (CLIP, SigLIP, CLAP…) these are its towers: what one reads may be searched by
    what another does, without a map. No weights are loaded.

    Raises
    ------
    ConjoinError : unknown scheme, name or option.

    Examples
    --------
    >>> towers("builtin:chargram")
    {'text': 'builtin:chargram'}
    """
    row, rest, options = parse(uri)
    own = getattr(row.load(), "towers", None)
    if own is None:
        return {kind_of(uri): uri}
    found: dict[str, str] = own(rest, options, cache_folder() if cache is None else cache)
    return found


def _open(uri: str, cache: Path | None, device: str) -> Any:
    row, rest, options = parse(uri)
    made = row.load()
    if device != "auto" and getattr(made, "placeable", False):
        options = {"device": device, **options}
    return made.open(rest, options, cache_folder() if cache is None else cache)
