"""Importing is cheap, has no side effects, and needs no optional dependency."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "pyarrow", "transformers", "pandas", "onnxruntime", "faiss", "sklearn", "scipy")


def loaded_by(code: str, *arguments: str) -> list[str]:
    """Modules in a fresh interpreter after ``code``."""
    tail = "; import json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stderr)


def test_conjoin_loads_nothing_heavy():
    found = loaded_by("import conjoin")
    assert not {"numpy", "pydantic", "typer", "rich", *HEAVY} & set(found)


def test_the_catalogue_loads_no_engine():
    found = loaded_by("from conjoin.catalogue import rows; rows()")
    assert not set(HEAVY) & set(found)


@pytest.mark.parametrize(
    "room", ["losses", "metrics", "alignment", "upgrade", "retrieval", "encoders"]
)
def test_a_room_can_be_imported_without_torch(room):
    assert "torch" not in loaded_by(f"import conjoin.{room}.rows")


def test_the_core_runs_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import conjoin.spaces, conjoin.metrics.retrieval.scores\n"
        "import conjoin.alignment.closed_form.linear\n"
        "import conjoin.alignment, conjoin.items"
    )
    assert "torch._C" not in loaded_by(code)


def test_a_search_loads_no_statistics():
    """Half a second of every cold verb, for one quantile and one least-squares problem."""
    found = loaded_by("import conjoin.project.search.session, conjoin.project.search.ranking")
    assert not {"scipy.stats", "scipy.optimize"} & set(found)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from conjoin.cli.main import main\n"
        "sys.argv = ['conjoin', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "0"
    )
    found = loaded_by(code)
    assert not {"numpy", *HEAVY} & set(found)
