"""How much one request may ask for, and how a refusal is said."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConjoinError, FrameError, MissingDependency, StateError, nearest

#: What a problem's ``type`` begins with; docs/serving.md lists what follows.
PROBLEM = "urn:conjoin:problem:"
#: Characters of a refused value that are said back.
SAID = 120


@dataclass(frozen=True)
class Limits:
    """What one request may ask for; ``conjoin serve --limit name=value`` changes one.

    Parameters
    ----------
    body_mb : megabytes of a request's body.
    json_mb : megabytes of a JSON body.
    body_seconds : seconds within which the whole body must have come.
    head_seconds : seconds within which the head of a request must have come, from its first byte
        or from the opening of the connection.
    request_seconds : seconds until an answer is given up.
    pixels : of an uploaded picture, width times height.
    audio_seconds : length of an uploaded sound.
    k : hits a list.
    text : characters of a text, a filter or an id.
    terms : parts of a composed query.
    answers : questions to documents that are answered at once; more are told to come again.
    history : earlier questions that a question may bring.
    waiting : queries that may wait for the encoder; more are told to come again.
    thumb : longest side of a picture that is served, pixels.
    sound_mb : megabytes of a sound that is served.
    send_seconds : seconds that an answer may take to be received.
    media_seconds : seconds that a picture or sound may take to be read, wherever it lies.
    sockets, client_sockets : connections in all, and of one client address.
    """

    body_mb: float = 12.0
    json_mb: float = 2.0
    body_seconds: float = 15.0
    head_seconds: float = 10.0
    request_seconds: float = 30.0
    pixels: int = 40_000_000
    audio_seconds: float = 120.0
    k: int = 200
    text: int = 2_000
    terms: int = 16
    answers: int = 4
    history: int = 20
    waiting: int = 256
    thumb: int = 1_600
    sound_mb: float = 20.0
    send_seconds: float = 60.0
    media_seconds: float = 10.0
    sockets: int = 512
    client_sockets: int = 256

    @classmethod
    def of(cls, given: Iterable[str]) -> "Limits":
        """The limits with some changed by ``name=value``.

        Raises
        ------
        ConjoinError : a name is unknown, or a value is not a number above 0.
        """
        known = {entry.name: entry.type for entry in dataclasses.fields(cls)}
        changed: dict[str, Any] = {}
        for text in given:
            name, _, value = text.partition("=")
            if name not in known:
                raise ConjoinError("--limit", f"{name!r} is unknown", nearest(name, known))
            try:
                number = known[name](value)  # type: ignore[operator]
            except (ValueError, OverflowError):
                number = 0
            if not 0 < number < float("inf"):
                raise ConjoinError(f"--limit {name}", repr(value), "give a number above 0")
            changed[name] = number
        return cls(**changed)


#: Kinds of problem: status and title.
KINDS: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "no-token": (401, "A token is needed"),
    "read-only": (403, "This service takes no changes"),
    "other-site": (403, "Pages of other sites may not ask"),
    "wrong-host": (421, "This address is not served under that name"),
    "not-found": (404, "There is no such thing here"),
    "wrong-method": (405, "This method is not allowed here"),
    "too-slow": (408, "The body took too long to come"),
    "other-frame": (409, "The vector is of another frame"),
    "too-large": (413, "The request is too large"),
    "wrong-type": (415, "This content type is not read here"),
    "bad-argument": (422, "An argument is wrong"),
    "defect": (500, "A defect in conjoin"),
    "busy": (503, "Too many requests are waiting"),
    "too-long": (504, "The answer took too long"),
}


class Problem(Exception):
    """A refusal as RFC 9457 has it, with the argument, what was found, and the remedy.

    Parameters
    ----------
    kind : a key of :data:`KINDS`.
    allow : methods that are allowed, where another was used; set after making.
    argument, found, remedy : as a :class:`~conjoin.errors.ConjoinError` says them.
    """

    def __init__(self, kind: str, argument: str, found: str, remedy: str):
        super().__init__(f"{argument}: {found}; {remedy}")
        self.kind, self.argument, self.found, self.remedy = kind, argument, found, remedy
        self.allow = ""
        self.status, self.title = KINDS[kind]

    @classmethod
    def of(cls, error: ConjoinError) -> "Problem":
        """The problem an error of the library is to a client."""
        if isinstance(error, MissingDependency):
            return cls(
                "wrong-type", "server", f"{error.where} is not installed there", error.remedy
            )
        if isinstance(error, StateError):  # its words name files, which are nobody's business
            return cls("defect", "server", "its index cannot be read", "look at the server's log")
        kind = "other-frame" if isinstance(error, FrameError) else "bad-argument"
        return cls(kind, ARGUMENTS.get(error.where, error.where), error.found, error.remedy)

    def to_json(self) -> dict[str, Any]:
        """Members of the problem object; the keys are stable."""
        found = brief(self.found)
        return {
            "type": PROBLEM + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": f"{brief(self.argument)}: {found}; {self.remedy}",
            "argument": brief(self.argument),
            "found": found,
            "remedy": self.remedy,
        }

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        if self.kind == "no-token":
            return {"WWW-Authenticate": 'Bearer realm="conjoin"'}
        if self.allow:
            return {"Allow": self.allow}
        return {"Retry-After": "1"} if self.kind == "busy" else {}


#: What the command line's options are called in a request.
ARGUMENTS = {
    "--into": "into",
    "--from": "source",
    "--item": "item",
    "filter": "where",
    "--fusion": "fusion",
    "--combine": "combine",
    "--hit": "hit",
    "--selector": "selector",
    "explain": "query",
}


def brief(text: str, most: int = SAID) -> str:
    """Text on one line, cut where it is long."""
    words = " ".join(str(text)[: 4 * most].split())
    return words if len(words) <= most else words[: most - 1] + "…"
