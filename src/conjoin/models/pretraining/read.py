"""Read a signal as letters: greedy paths, beams, and the likelihood of known names."""

from collections.abc import Sequence

import numpy as np

from conjoin.errors import ConjoinError


def greedy(log_probs: np.ndarray) -> list[int]:
    """The best symbol of every frame, repeats and blanks taken out.

    Parameters
    ----------
    log_probs : ``[t, v + 1]``, the blank last.

    Examples
    --------
    >>> greedy(np.log([[.8, .1, .1], [.8, .1, .1], [.1, .1, .8], [.7, .2, .1], [.1, .8, .1]]))
    [0, 0, 1]
    """
    best = log_probs.argmax(1)
    blank = log_probs.shape[1] - 1
    kept = [int(b) for a, b in zip([-1, *best[:-1]], best, strict=True) if b not in (a, blank)]
    return kept


def prefix_beam(log_probs: np.ndarray, width: int = 8) -> list[tuple[list[int], float]]:
    """The most likely letter strings, summed over their paths, best first.

    Prefix beam search: for each string the chance of ending in a blank and in its last letter is
    carried apart. With ``width`` 1 ties with the greedy path only where one path holds most of
    each string's chance.

    Source: Graves and Jaitly 2014; Hannun et al. 2014.
    """
    blank = log_probs.shape[1] - 1
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in log_probs:
        grown: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(text: tuple[int, ...], blanked: float, lettered: float, held: dict) -> None:
            b, n = held.get(text, (-np.inf, -np.inf))
            held[text] = float(np.logaddexp(b, blanked)), float(np.logaddexp(n, lettered))

        for text, (b, n) in beams.items():
            both = float(np.logaddexp(b, n))
            add(text, float(both + frame[blank]), -np.inf, grown)
            if text:
                add(text, -np.inf, float(n + frame[text[-1]]), grown)
            for letter in np.argsort(-frame[:blank])[: max(width, 4)]:
                came = b if text and text[-1] == letter else both
                if np.isfinite(came):
                    add((*text, int(letter)), -np.inf, float(came + frame[letter]), grown)
        ranked = sorted(grown.items(), key=lambda entry: -np.logaddexp(*entry[1]))
        beams = dict(ranked[:width])
    return [(list(text), float(np.logaddexp(*score))) for text, score in beams.items()]


def name_scores(log_probs: Sequence[np.ndarray], names: Sequence[Sequence[int]]) -> np.ndarray:
    """``[n, m]`` log-likelihoods a letter of known names given signals: their CTC loss, negated.

    Names that a signal is too short for get ``−inf``.

    Parameters
    ----------
    log_probs : by signal ``[t, v + 1]``, the blank last.
    names : letters of each name, one at least.
    """
    import torch
    import torch.nn.functional as F

    if not all(len(name) for name in names):
        raise ConjoinError("names", "one has no letters", "leave it out")
    sizes = torch.tensor([len(name) for name in names])
    letters = torch.cat([torch.tensor(list(name)) for name in names])
    out = np.empty((len(log_probs), len(names)))
    for row, one in enumerate(log_probs):
        given = torch.from_numpy(np.ascontiguousarray(one)).float()
        frames = torch.full((len(names),), len(given))
        loss = F.ctc_loss(
            given[:, None].expand(-1, len(names), -1), letters, frames, sizes,
            blank=given.shape[1] - 1, reduction="none",
        )  # fmt: skip
        out[row] = -(loss / sizes).numpy()
    return out


def shares(scores: np.ndarray, sharpness: float = 20.0) -> np.ndarray:
    """Scores of known names as shares of belief: a softmax over names of each row."""
    best = scores.max(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        raised = np.exp(sharpness * (scores - np.where(np.isfinite(best), best, 0.0)))
    total = raised.sum(1, keepdims=True)
    return raised / np.where(total > 0, total, 1.0)
