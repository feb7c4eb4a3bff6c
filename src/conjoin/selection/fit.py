"""Fit a binding whose method, settings and reference modality are chosen by held-out folds."""

from collections.abc import Mapping, Sequence
from functools import partial

from conjoin.alignment.binding import Binding
from conjoin.selection.choose import by_validation
from conjoin.selection.frozen import for_frozen
from conjoin.spaces import Pairs, Space


def fit(
    spaces: Mapping[str, Space],
    pairs: Pairs | None = None,
    *,
    methods: Sequence[str] | None = None,
    hub: str | None = None,
    budget: float | None = None,
    seed: int = 0,
) -> Binding:
    """Fit one map per modality into one frame; held-out folds of the pairs choose the method.

    Parameters
    ----------
    spaces : two or more modalities by name.
    pairs : training pairs; rows that share an item id when not given.
    methods : aligners to try; the shortlist of the catalogue when not given.
    hub : the reference modality; chosen when not given.
    budget : units of work for the choice, each about a second of one quiet core.

    Raises
    ------
    ConjoinError : fewer than two modalities, too few pairs, or pieces that nothing joins.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 5))
    >>> spaces = {"a": Space.of(x, name="a"), "b": Space.of(x @ np.eye(5)[::-1], name="b")}
    >>> fit(spaces, methods=["procrustes"]).choice.method
    'procrustes'
    """
    chooser = partial(by_validation, methods=methods, budget=budget)
    return Binding.fit(spaces, pairs, method="auto", hub=hub, seed=seed, chooser=chooser)


def extend(binding: Binding, spaces: Mapping[str, Space], pairs: Pairs | None = None) -> Binding:
    """Bind new modalities to where the bound ones lie; folds choose where nothing was fitted.

    Parameters
    ----------
    spaces : the new modalities, and the bound ones they are paired with.

    Raises
    ------
    ConjoinError : as :meth:`conjoin.Binding.extend`.
    """
    return binding.extend(spaces, pairs, chooser=for_frozen)
