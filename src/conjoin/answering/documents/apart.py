"""Readers of packed formats in a process of their own, which hostile bytes may end and no more."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from conjoin.answering.documents.blocks import Block, Leavings, Left, Reader, Unreadable
from conjoin.answering.documents.readers import READERS
from conjoin.errors import MissingDependency, one_line

#: CPU-seconds that a page may take, or a document whose format has no pages.
SECONDS = 30.0
#: Bytes of memory that the process may ask for, where the system bounds that.
MEMORY = 4 << 30
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from conjoin.answering.documents.apart import serve; serve()"
)
_FIELDS = frozenset(entry.name for entry in fields(Block))


class Apart:
    """Gives readers that run in one other process, begun when first asked and again if it ends.

    A document of a few hundred bytes can make a parser take all memory, run for hours or abort.
    There it ends that process: the document is told as unreadable, and the others are read.
    Pictures are written by that process, into the folder that :class:`Leavings` names.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def reader(self, suffix: str) -> Reader:
        """The reader of a suffix, run apart."""

        def read(path: Path, left: Leavings) -> Iterator[Block]:
            return self._read(suffix, path, left)

        return read

    def _read(self, suffix: str, path: Path, left: Leavings) -> Iterator[Block]:
        ask = {
            "suffix": suffix, "path": str(path), "document": left.document, "root": str(left.root),
            "folder": None if left.folder is None else str(left.folder),
        }  # fmt: skip
        child = self._begun()
        whole = False
        try:
            _say(child.stdin, ask)
            for said in _heard(child.stdout):
                if "block" in said:
                    yield _block(said["block"])
                    continue
                left.found += [Left(**one) for one in said["left"]]
                whole = True
                _raise(said)
                return
        except Unreadable:
            raise
        except (BrokenPipeError, ValueError):  # it ended in the middle of a line
            if whole:
                raise
        finally:
            if not whole:  # it ended, or nobody reads on
                ended = self._end()
        raise Unreadable(_why(ended))

    def _begun(self) -> "subprocess.Popen[str]":
        if self._child is None or self._child.poll() is not None:
            places = [os.path.abspath(place) for place in sys.path if place]
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(places)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            )  # fmt: skip
        return self._child

    def _end(self) -> int:
        """End the process; its exit code, negative of the signal it died of."""
        child, self._child = self._child, None
        if child is None:
            return 0
        with contextlib.suppress(OSError):
            if child.stdin is not None:
                child.stdin.close()
        try:
            code = child.wait(1.0)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        return code


def _why(code: int) -> str:
    if -code == getattr(signal, "SIGPROF", 0):
        return f"took more than {SECONDS:g} s of a core on one page"
    return f"ended its reader (code {code}): it takes too much memory, or is made to do harm"


def _raise(said: Mapping[str, Any]) -> None:
    if said.get("missing"):
        raise MissingDependency(*said["missing"])
    if said.get("why"):
        raise Unreadable(str(said["why"]))


def _block(said: Mapping[str, Any]) -> Block:
    """A block from JSON: lists are tuples again."""
    return Block(**{key: _frozen(value) for key, value in said.items() if key in _FIELDS})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _say(out: Any, value: Any) -> None:
    """Write a line of JSON to a stream of text."""
    out.write(json.dumps(value) + "\n")
    out.flush()


def _heard(lines: Any) -> Iterator[Any]:
    """Values of the lines of a stream of text."""
    for line in lines:
        yield json.loads(line)


def serve() -> None:
    """Read what is asked for, a line of JSON each, until nobody asks."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what a library prints is no answer
        _bound()
        for line in sys.stdin:
            ask = json.loads(line)
            folder = ask["folder"] and Path(ask["folder"])
            left = Leavings(ask["document"], Path(ask["root"]), folder or None, alive=_again)
            end: dict[str, Any] = {}
            try:
                _again()
                for block in READERS[ask["suffix"]](Path(ask["path"]), left):
                    _say(out, {"block": asdict(block)})
                    _again()
            except MissingDependency as error:
                end["missing"] = [error.where, error.found, error.remedy]
            except Unreadable as error:
                end["why"] = str(error)
            except Exception as error:  # a library's own on hostile bytes
                end["why"] = f"its reader failed ({type(error).__name__}: {one_line(error, 80)})"
            _say(out, {"left": [vars(one) for one in left.found], **end})


def _bound() -> None:
    """Bound the memory of this process, and let its clock end it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _again() -> None:
    """Start the clock anew: its signal ends the process, also inside a library's own code."""
    with contextlib.suppress(AttributeError):  # Windows has no such clock
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
