"""One named number with what a reader needs to judge it."""

import math
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConjoinError


@dataclass(frozen=True)
class Measurement:
    """A named number with its interval, range and direction.

    Parameters
    ----------
    name : such as ``recall@10``.
    value : the number; always finite.
    low, high : ends of the 95 % interval; ``None`` where none was computed.
    n : units behind the number (queries, unless ``meaning`` says otherwise).
    range : the lowest and highest value possible; infinite where open.
    higher_is_better : its direction.
    meaning : one plain sentence for people.

    Raises
    ------
    ConjoinError : the value is not finite or lies outside its range, or half an interval is given.

    Examples
    --------
    >>> Measurement("recall@1", 0.5, None, None, 4, (0.0, 1.0), True, "Hits.").to_json()["value"]
    0.5
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    range: tuple[float, float]
    higher_is_better: bool
    meaning: str

    def __post_init__(self) -> None:
        least, most = self.range
        slack = 1e-9 * max(1.0, abs(self.value))
        if not math.isfinite(self.value) or not least - slack <= self.value <= most + slack:
            raise ConjoinError(
                self.name, f"{self.value} is outside {self.range}", "check the vectors measured"
            )
        if (self.low is None) != (self.high is None):
            raise ConjoinError(self.name, "has half an interval", "give both ends or neither")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ConjoinError(
                self.name, f"interval {self.low} to {self.high}", "give the lower end first"
            )

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON-able fields; open ends of the range become ``null``."""
        return {
            "metric": self.name,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "range": [end if math.isfinite(end) else None for end in self.range],
            "higher_is_better": self.higher_is_better,
            "meaning": self.meaning,
        }
