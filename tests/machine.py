"""Random verbs for a workspace beside its plain model (``world.py``), and the state machine."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from world import WIDTHS, World

#: Verbs and how often each comes.
OFTEN = {
    "row": 6, "cell": 5, "blank": 2, "gone": 3, "embed": 10, "fit": 5, "index add": 8,
    "prune": 4, "delete": 8, "compact": 2, "rollback": 4, "clean": 2, "look": 2, "search": 8,
    "away": 1, "switch": 3, "add": 2, "remove": 2, "sync": 4,
}  # fmt: skip


def step(world: World, dice: np.random.Generator) -> str:
    """One random verb, killed at a random write or not."""
    names = list(OFTEN)
    weights = np.array([OFTEN[name] for name in names], dtype=float)
    name = str(dice.choice(names, p=weights / weights.sum()))
    kill = int(dice.integers(0, 12)) if dice.random() < 0.35 else None
    items = list(world.rows)
    some = str(dice.choice(items))
    perform(world, name, kill, some, dice)
    return name


def perform(world: World, name: str, kill: int | None, some: str, dice: Any) -> None:
    """Do a verb by name, where it can be asked for."""
    if name in ("row", "cell", "blank", "gone"):
        edit(world, name, some, dice)
    elif name == "search":
        source, target = (str(dice.choice(list(WIDTHS))) for _ in range(2))
        world.search(some, source, target)
    elif name in ("embed", "fit"):
        getattr(world, name)(kill)
    elif name in ("clean", "away", "switch"):
        getattr(world, name)()
    elif world.model.bound and set(world.names) == set(world.model.bound):
        _changing(world, name, kill, some, dice)


def _changing(world: World, name: str, kill: int | None, some: str, dice: Any) -> None:
    """Verbs of what is fitted."""
    if name in ("index add", "prune"):
        held = world.model.index.items()
        if all(set(h) & set(world.model.stored[n]) for n, h in held):
            world.index_add(prune=name == "prune", kill=kill)
    elif name == "delete":
        world.delete([some], kill)
    elif name == "rollback":
        world.rollback(int(dice.choice([*(list(world.model.history) or [1]), 99])), kill)
    elif name == "add":
        world.add_modality(kill) if "c" not in world.names else None
    elif name == "remove":
        world.remove_modality(kill) if "c" in world.names else None
    elif name in ("compact", "sync"):
        getattr(world, name)(kill)
    else:
        world.look()


def edit(world: World, name: str, some: str, dice: Any) -> None:
    """Change the user's table."""
    rows = world.rows
    column = str(dice.choice(list(WIDTHS)))
    if name == "row" and len(rows) < 16:
        rows[f"i{world.next}"] = dict.fromkeys(WIDTHS, 0)
        world.next += 1
    elif name == "cell":
        rows[some][column] = (rows[some][column] or 0) + 1
    elif name == "blank" and sum(row[column] is not None for row in rows.values()) > 7:
        rows[some][column] = None
    elif name == "gone" and len(rows) > 8:
        del rows[some]
    world.write()


class Workspaces(RuleBasedStateMachine):
    """The state machine: a workspace in one of three start states, then random verbs.

    ``salt`` makes another run of the same length; ``counts`` says what was run.
    """

    counts: ClassVar[Counter] = Counter()
    salt: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.world: World | None = None

    @initialize(start=st.sampled_from(["snapshot", "store", "fresh"]), seed=st.integers(0, 2**30))
    def start(self, start: str, seed: int) -> None:
        """Nothing yet, or embedded and fitted with or without the database."""
        self.dice = np.random.default_rng([seed, self.salt])
        if self.salt:
            start = str(self.dice.choice(["snapshot", "store", "fresh"]))
        self.world = World(
            self.folder / "ws", database=start != "snapshot", counts=Workspaces.counts
        )
        if start != "fresh":
            self.world.embed()
            self.world.fit()
            self.world.database = True

    @rule(seed=st.integers(0, 2**30))
    def verb(self, seed: int) -> None:
        """One verb, killed at a write or not."""
        if self.world is not None:
            step(self.world, np.random.default_rng([seed, int(self.dice.integers(2**30))]))

    def teardown(self) -> None:
        """Take the workspace away."""
        shutil.rmtree(self.folder, ignore_errors=True)
