"""Budgets in units of work, counted by a table of costs: no clock has a part in a result."""

SHORT = "no budget left"


class Work:
    """Units of work done, and left of a budget; without a budget there is no end.

    A unit is about a second of one quiet core. Work is counted by what
    :mod:`conjoin.execution.costs` says of it before it begins, not by a clock: the same data, seed
    and versions stop at the same place on any machine, however busy it is.

    Parameters
    ----------
    budget : units; ``None`` for no end.
    within : the work that this is a part of, which counts all that is spent here too.

    Examples
    --------
    >>> work = Work(60.0)
    >>> work.spend(45.0)
    >>> work.allows(10.0), work.allows(20.0)
    (True, False)
    """

    def __init__(self, budget: float | None = None, within: "Work | None" = None):
        self.budget, self.within, self.spent = budget, within, 0.0

    def spend(self, units: float) -> None:
        """Count work that is done."""
        self.spent += units
        if self.within is not None:
            self.within.spend(units)

    @property
    def left(self) -> float:
        """Units left, not below 0."""
        return float("inf") if self.budget is None else max(0.0, self.budget - self.spent)

    def allows(self, units: float = 0.0) -> bool:
        """Whether work of so many units still ends within the budget."""
        return self.budget is None or self.spent + units < self.budget

    def share(self, part: float) -> "Work":
        """A part of this work with a budget of its own: that share of the whole, or what is left.

        Examples
        --------
        >>> Work(60.0).share(0.5).budget
        30.0
        """
        if self.budget is None:
            return Work(None, self)
        return Work(min(part * self.budget, self.left), self)

    def open(self) -> "Work":
        """A part of this work that always ends: it has no budget, and is counted here."""
        return Work(None, self)


#: Units of work, each about a second of one quiet core, that ``fit`` may take in all.
FIT_BUDGET = 40.0
