"""From a column, or a list of cells, to a space in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.encoders.base import Encoder
from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode
from conjoin.errors import CellError, ConjoinError
from conjoin.items import Items
from conjoin.spaces import Space
from conjoin.spaces.given import cells_of, is_frame


def embed(
    cells: Any,
    encoder: str | Encoder,
    column: str | Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> Space:
    """Encode a column of items, or cells as they are, into a space in memory.

    Cells that cannot be read are left out, as a missing cell is. A workspace embeds resumably to
    disk instead (``conjoin embed``).

    Parameters
    ----------
    cells : items, with ``column`` naming what to read; or cells in a list, array, Series, tensor,
        generator, column of a frame or data set: by position and in the order given, whatever an
        index says, ids then being places. A string, bytes or dictionary is one cell and refused:
        give a list of it. Rows of a frame are cells of kind ``table``.
    encoder : a URI such as ``builtin:text``, or an open encoder.
    strict : refuse at the first cell that cannot be read.

    Raises
    ------
    ConjoinError : the encoder or column is unknown, or no cell could be read.

    Examples
    --------
    >>> space = embed(["un gato", "a cat"], "builtin:chargram")
    >>> len(space), space.frame.label
    (2, 'chargram')
    """
    if isinstance(cells, Items):
        if column is None:
            raise ConjoinError("column", "is missing", "name the column of the items to embed")
        return _encoded(cells, encoder, column, strict)
    if column is not None:
        return _encoded(Items.from_frame(cells), encoder, column, strict)
    given = cells_of(cells, "cells", _kind(encoder) if is_frame(cells) else None)
    if len(given) == 0:
        raise ConjoinError("cells", "none", "give one or more")
    reader = encoder if isinstance(encoder, Encoder) else open_encoder(encoder, cells=lambda: given)
    made = encode(reader, given, strict=strict)
    places = [place for place in range(len(given)) if place not in made.failed]
    return _space(np.array(places).astype(str), made, reader)


def _encoded(items: Items, encoder: str | Encoder, column: Any, strict: bool) -> Space:
    rows = list(items.cells(column, _kind(encoder)))
    readable = [cell for _, cell in rows if not isinstance(cell, CellError)]
    reader = (
        encoder if isinstance(encoder, Encoder) else open_encoder(encoder, cells=lambda: readable)
    )
    made = encode(reader, [cell for _, cell in rows], strict=strict)
    keys = [key for place, (key, _) in enumerate(rows) if place not in made.failed]
    space = _space(np.array([key.id for key in keys]), made, reader)
    return Space(
        space.ids,
        space.vectors,
        space.frame,
        np.array([key.part for key in keys], dtype=np.int32),
        np.array([key.content for key in keys], dtype=np.uint64),
        space.provenance,
    )


def _kind(encoder: str | Encoder) -> str:
    from conjoin.encoders.open import kind_of

    return encoder.kind if isinstance(encoder, Encoder) else kind_of(encoder)


def _space(ids: np.ndarray, made: Any, reader: Encoder) -> Space:
    if len(ids) == 0:
        reason = next(iter(made.failed.values()), "there is no cell")
        raise ConjoinError("cells", f"none could be read: {reason}", "fix the cells")
    return Space(ids, made.vectors, reader.frame, provenance=(f"encoder {reader.uri}",))
