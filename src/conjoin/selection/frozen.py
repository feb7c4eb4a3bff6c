"""Choosing how a new modality is bound to a frame that stays."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from conjoin.alignment.choice import Choice, Trial
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.selection.folds import Folds
from conjoin.spaces import Pairs, Space

#: Closed forms that are fitted to a frame that stays, the simplest first.
TRIED = ("ridge", "low-rank", "procrustes", "cca")


def for_frozen(
    spaces: Mapping[str, Space],
    pairs: Pairs,
    frozen: Mapping[str, Any],
    *,
    hub: str,
    seed: int = 0,
) -> Choice:
    """The method that binds new modalities best, on held-out folds of their pairs.

    Each of :data:`TRIED` is fitted at its defaults without each fold and scored on it by the mean
    of recall@1, @5 and @10 over all directions that pairs join. An earlier one wins a tie.

    Parameters
    ----------
    spaces : new modalities and bound ones.
    frozen : the maps of the bound ones.

    Raises
    ------
    ConjoinError : none can be fitted.
    """
    trials, skipped = [], {}
    try:
        folds = Folds(spaces, pairs, seed)
    except ConjoinError:  # one group: nothing can be held out
        return Choice.of(TRIED[0], hub)
    for name in TRIED:
        row = find("aligner", name)
        try:
            scores = tuple(
                folds.score(number, row.make().fit(
                    {n: s.vectors for n, s in spaces.items()}, folds.train(number),
                    frames={n: s.frame.id for n, s in spaces.items()}, frozen=frozen, seed=seed,
                ))
                for number in folds.numbers
            )  # fmt: skip
        except ConjoinError as error:
            skipped[name] = str(error)
            continue
        trials.append(Trial(name, asdict(row.make()), hub, scores))
    if not trials:
        raise ConjoinError("modalities", f"none can be bound: {skipped}", "give more pairs")
    best = max(trials, key=lambda trial: trial.mean)
    return Choice(best.method, best.fields, hub, tuple(trials), skipped)
