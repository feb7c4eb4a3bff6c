"""Options of an encoder's URI, checked by name and range."""

from collections.abc import Mapping, Sequence

from conjoin.errors import ConjoinError, nearest


class Options:
    """The ``option=value`` part of a URI.

    Raises
    ------
    ConjoinError : an option is not among ``known``.
    """

    def __init__(self, uri: str, given: Mapping[str, str], known: Sequence[str]):
        self.uri = self._uri = uri
        self._given = given
        for name in given:
            if name not in known:
                raise ConjoinError(f"{uri}?{name}", "is not an option", nearest(name, known))

    def text(self, name: str, default: str, among: Sequence[str] = ()) -> str:
        """A word, one of ``among`` where given."""
        value = self._given.get(name, default)
        if among and value not in among:
            raise ConjoinError(f"{self._uri}?{name}", f"{value!r}", f"give one of {list(among)}")
        return value

    def number(self, name: str, default: float | int, low: float | int, high: float | int) -> float:
        """A number in ``[low, high]``."""
        raw = self._given.get(name)
        if raw is None:
            return float(default)
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConjoinError(f"{self._uri}?{name}", f"{raw!r}", f"give {low:g} to {high:g}")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """An integer in ``[low, high]``."""
        value = self.number(name, default, low, high)
        if value != int(value):
            raise ConjoinError(f"{self._uri}?{name}", f"{value}", "give a whole number")
        return int(value)
