"""Random verbs against a plain model of the workspace; ``benchmarks/faults/machine.py`` runs more.

``tests/world.py`` has the model and the verbs, ``tests/machine.py`` draws them.
"""

import pytest

pytest.importorskip("lancedb")

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from machine import Workspaces

SHORT = settings(
    max_examples=3, stateful_step_count=8, deadline=None, derandomize=True, database=None,
    phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_whatever_verbs_come_in_what_order_the_workspace_holds_what_it_must():
    Workspaces.counts.clear()
    run_state_machine_as_test(Workspaces, settings=SHORT)
    assert sum(Workspaces.counts.values()) > 12
