"""What a reader has to say of a cell that it could read: cut, blank, silent."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def remark(text: str) -> None:
    """Say something of the cell that is being read.

    The words are the same for every cell of which it is true, so that they can be counted: "cut
    at 256 tokens", not which. Where nobody listens it is lost.
    """
    heard = _heard.get()
    if heard is not None and text not in heard:
        heard.append(text)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Within the block, what is remarked in this thread, each once.

    Examples
    --------
    >>> with listening() as heard:
    ...     remark("blank pictures")
    >>> heard
    ['blank pictures']
    """
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
