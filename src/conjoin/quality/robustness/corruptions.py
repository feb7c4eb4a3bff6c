"""Cells spoilt on purpose: pictures and texts, five severities, the same for an item every time."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.storage.digest import stable_hash

#: Severities; 0 leaves a cell as it is.
SEVERITIES = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way of spoiling a cell, at a severity; the draw is told by the item's id.

    Parameters
    ----------
    name : of :data:`IMAGES` or :data:`TEXTS`.
    severity : 0 to 5.

    Raises
    ------
    ConjoinError : the name or the severity is unknown.

    Examples
    --------
    >>> Corruption("swaps", 0)("a red apple", "7"), Corruption("swaps", 5)("a red apple", "7")
    ('a red apple', 'a erd palpe')
    """

    name: str
    severity: int = 3

    def __post_init__(self) -> None:
        known = {**IMAGES, **TEXTS}
        if self.name not in known:
            raise ConjoinError("corruption", f"{self.name!r}", nearest(self.name, known))
        if self.severity not in SEVERITIES:
            raise ConjoinError("severity", f"{self.severity}", "give 0 to 5")

    @property
    def kind(self) -> str:
        """``image`` or ``text``."""
        return "image" if self.name in IMAGES else "text"

    def __call__(self, cell: Any, item: str) -> Any:
        """The cell spoilt: bytes of a picture (as PNG), or a text."""
        if not self.severity:
            return cell
        rng = np.random.default_rng([stable_hash(f"{self.name}/{item}"), self.severity])
        if self.kind == "text":
            return TEXTS[self.name](str(cell), self.severity, rng)
        from PIL import Image

        with Image.open(io.BytesIO(cell)) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.float64)
        made = IMAGES[self.name](pixels, self.severity, rng)
        out = io.BytesIO()
        Image.fromarray(np.clip(np.rint(made), 0, 255).astype(np.uint8)).save(out, "PNG")
        return out.getvalue()


def _noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of deviation .08 to .38 of the range, as in ImageNet-C."""
    return x + 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1] * rng.normal(size=x.shape)


def _dots(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels black or white: 3 to 27 % of them."""
    drawn, share = rng.random(x.shape[:2]), (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    out = x.copy()
    out[drawn < share / 2] = 0
    out[drawn > 1 - share / 2] = 255
    return out


def _blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of 1 to 6 pixels in 224."""
    from scipy.ndimage import gaussian_filter

    size = (1, 2, 3, 4, 6)[severity - 1] * min(x.shape[:2]) / 224
    return np.asarray(gaussian_filter(x, (size, size, 0)))


def _contrast(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Differences from the picture's mean, made .4 to .05 as large."""
    mean = x.mean(axis=(0, 1))
    return mean + (x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]


def _dark(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """All pixels .7 to .2 as bright."""
    return x * (0.7, 0.55, 0.4, 0.3, 0.2)[severity - 1]


def _coarse(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks of one colour: .6 to .25 of the resolution, as in ImageNet-C."""
    rows, columns = (
        np.floor(np.arange(n) / n * max(1, int(n * share))).astype(int)
        for n in x.shape[:2]
        for share in ((0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1],)
    )
    out = np.empty_like(x)
    for r in np.unique(rows):
        for c in np.unique(columns):
            here = np.ix_(rows == r, columns == c)
            out[here] = x[here].mean(axis=(0, 1))
    return out


def _swaps(text: str, severity: int, rng: np.random.Generator) -> str:
    """Neighbouring letters of a word exchanged, in 10 to 50 % of the places."""
    letters, at = list(text), 0
    while at < len(letters) - 1:
        both = letters[at].isalpha() and letters[at + 1].isalpha()
        if both and rng.random() < 0.1 * severity:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
            at += 1
        at += 1
    return "".join(letters)


def _losses(text: str, severity: int, rng: np.random.Generator) -> str:
    """Letters lost, 5 to 25 % of them; one stays."""
    kept = [c for c in text if not c.isalpha() or rng.random() >= 0.05 * severity]
    return "".join(kept) if any(c.isalpha() for c in kept) else text


def _words(text: str, severity: int, rng: np.random.Generator) -> str:
    """Words lost, 10 to 50 % of them; one stays."""
    found = text.split()
    kept = [word for word in found if rng.random() >= 0.1 * severity]
    return " ".join(kept or found[:1])


def _attributes(text: str, severity: int, rng: np.random.Generator) -> str:
    """Up to five words that say a colour, a size or a material, put before words at random."""
    found = text.split()
    for word in rng.permutation(ATTRIBUTES)[:severity]:
        found.insert(int(rng.integers(len(found) + 1)), str(word))
    return " ".join(found)


#: Words that may be put into a text and change nothing of what it names.
ATTRIBUTES = (
    "red", "blue", "green", "yellow", "purple", "large", "small", "wooden", "plastic", "shiny",
)  # fmt: skip

Spoil = Callable[[Any, int, np.random.Generator], Any]
IMAGES: Mapping[str, Spoil] = {
    "noise": _noise, "dots": _dots, "blur": _blur, "contrast": _contrast, "dark": _dark,
    "coarse": _coarse,
}  # fmt: skip
TEXTS: Mapping[str, Spoil] = {
    "swaps": _swaps, "losses": _losses, "words": _words, "attributes": _attributes,
}  # fmt: skip
