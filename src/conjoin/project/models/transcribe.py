"""``conjoin transcribe``: read sounds as letters, or as the likeliest of known names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.open import parse
from conjoin.errors import CellError, ConjoinError, one_line
from conjoin.models.pretraining.read import greedy, name_scores, prefix_beam, shares
from conjoin.models.pretraining.saved import letter_chances, load, transcribed
from conjoin.storage.files import expanded

#: Names shown of each sound.
SHOWN = 3


@dataclass(frozen=True)
class Transcript:
    """What one sound says.

    Parameters
    ----------
    source : the file.
    text : the best spelling, or the likeliest known name where names were given.
    others : further spellings or names and their scores: log-likelihoods of spellings, shares of
        belief of names.
    failed : why it could not be read; empty where it could.
    """

    source: str
    text: str
    others: tuple[tuple[str, float], ...] = ()
    failed: str = ""

    def to_json(self) -> dict[str, Any]:
        """One row for programs."""
        return {
            "source": self.source, "text": self.text, "failed": self.failed,
            "others": [{"text": text, "score": score} for text, score in self.others],
        }  # fmt: skip


def read_names(path: Path) -> list[str]:
    """Known names, one a line.

    Raises
    ------
    ConjoinError : the file is missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConjoinError(
            f"--names {path}", one_line(error, 60), "give a text file, one name a line"
        ) from None


def transcribe(
    uri: str, files: Sequence[Path], *, names: Sequence[str] = (), beam: int = 1
) -> list[Transcript]:
    """Read sounds by a model that ``conjoin model pretrain`` trained to transcribe.

    Parameters
    ----------
    names : known names; a sound then gets the likeliest of them in place of its own spelling.
    beam : strings kept in a prefix beam search; 1 takes the best letter of every frame.

    Raises
    ------
    ConjoinError : no trained model, one that was not trained to transcribe, or a name that has
        none of its letters.
    """
    row, rest, _ = parse(uri)
    if row.name != "pretrained":
        raise ConjoinError("model", f"{uri!r} is of scheme {row.name}", "give pretrained:DIR")
    saved = load(expanded(rest))
    read = transcribed(saved)
    if read is None:
        raise ConjoinError(uri, "was not trained to transcribe", "train recipe speech-letters")
    cells, letters = saved.cells(read[0]), saved.cells(read[1])
    known = [letters.decode(name)[:, 0].astype(int).tolist() for name in names]
    for name, ids in zip(names, known, strict=True):
        if not ids:
            raise ConjoinError("--names", f"{name!r} has no letter the model knows", "leave it out")
    found = []
    for file in files:
        try:
            sets = cells.forward([cells.decode(file)])
        except CellError as error:
            found.append(Transcript(str(file), "", failed=str(error)))
            continue
        chances = letter_chances(saved, read[0], sets)[0]
        found.append(_read(str(file), chances, letters, names, known, beam))
    return found


def _read(
    source: str, chances: np.ndarray, letters: Any, names: Sequence[str],
    known: Sequence[Sequence[int]], beam: int,
) -> Transcript:  # fmt: skip
    if names:
        scores = name_scores([chances], known)
        belief = shares(scores)[0]
        order = np.argsort(-scores[0], kind="stable")[:SHOWN]
        best = tuple((names[at], float(belief[at])) for at in order)
        return Transcript(source, best[0][0], best)
    if beam == 1:
        return Transcript(source, letters.text(greedy(chances)))
    strings = [(letters.text(ids), score) for ids, score in prefix_beam(chances, beam)[:SHOWN]]
    return Transcript(source, strings[0][0], tuple(strings))
