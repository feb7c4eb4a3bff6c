"""Encoders of pictures that read fewer pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from conjoin.catalogue import Search
from conjoin.encoders.names import uri as written
from conjoin.encoders.open import parse
from conjoin.errors import ConjoinError


@dataclass(frozen=True)
class SmallerInput:
    """The same network over pictures of a shorter side s, at ``(s / 224)²`` of the cost.

    Parameters
    ----------
    side : of the picture, in pixels; rounded to a multiple of 32.

    Errors
    ------
    ConjoinError : the encoder reads pictures of one size alone.

    Examples
    --------
    >>> from pathlib import Path
    >>> SmallerInput(side=128).write("builtin:image", [], Path("unused"))
    'builtin:image?side=128'

    References
    ----------
    Touvron et al. 2019 (touvron2019resolution) on the side at which a network is used.
    """

    side: Annotated[int, Search(64, 224)] = 160
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({"side": 192}, {"side": 160}, {"side": 128})
    whole: ClassVar[Mapping[str, Any] | None] = {"side": 224}

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; nothing is written."""
        row, _, options = parse(uri)
        if row.name != "builtin:image":
            raise ConjoinError(
                uri, "reads pictures of one size alone", "shrink builtin:image, or distil a student"
            )
        side = max(64, 32 * round(self.side / 32))
        if side == 224:
            return uri
        return written("builtin", "image", {**options, "side": str(side)})
