"""What a way of compressing an encoder promises."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable


@runtime_checkable
class Compression(Protocol):
    """A frozen dataclass whose fields are hyper-parameters: what of an encoder is left out.

    ``kinds`` are the kinds of cells it knows encoders of; ``tries`` the settings tried where none
    is asked for, mildest first; ``whole`` settings that leave nothing out, for which the vectors
    are those of the original, or ``None`` where there are none.
    """

    arithmetic: ClassVar[int]
    kinds: ClassVar[tuple[str, ...]]
    tries: ClassVar[tuple[Mapping[str, Any], ...]]
    whole: ClassVar[Mapping[str, Any] | None]

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """Write a cheaper encoder, and tell its URI.

        Parameters
        ----------
        uri : of the original.
        sample : decoded as the original's kind is; what statistics are taken of.
        folder : where it may write; it need not.

        Raises
        ------
        ConjoinError : the original has nothing that this leaves out; its type is named.
        """
        ...
