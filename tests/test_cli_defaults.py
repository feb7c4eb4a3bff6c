"""Defaults of the command line: none changes without a line in the golden table."""

import json
from pathlib import Path

import pytest

from conjoin.project.search.ranking import parts_asked
from golden import defaults


def test_every_option_has_the_default_of_the_golden_table():
    golden = json.loads(defaults.HERE.read_text(encoding="utf-8"))
    found = json.loads(json.dumps(defaults.table()))
    every = sorted({*golden, *found})
    differ = [
        f"{command} {option}: {one.get(option, 'absent')!r}, was {other.get(option, 'absent')!r}"
        for command in every
        for one, other in [(found.get(command, {}), golden.get(command, {}))]
        for option in sorted({*one, *other})
        if one.get(option, "absent") != other.get(option, "absent")
    ]
    assert differ == [], "where they are meant, run: python tests/golden/defaults.py"
    assert list(found) == list(golden)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([], [("query", 1.0), ("item", 1.0), ("like", 1.0), ("text", 1.0), ("not", -0.5),
              ("not-item", -0.5)]),
        (["not=2", "like=0.25"], [("query", 1.0), ("item", 1.0), ("like", 0.25), ("text", 1.0),
                                  ("not", -2.0), ("not-item", -0.5)]),
    ],
)  # fmt: skip
def test_parts_that_are_wanted_weigh_one_and_others_minus_a_half(weights, expected):
    given = {
        "query": [Path("a.png")], "item": ["i1"], "like": ["i2"], "not": ["red"],
        "not-item": ["i3"],
    }  # fmt: skip
    parts = parts_asked("words", given, weights, None)
    assert [(part.role, part.weight) for part in parts] == expected
