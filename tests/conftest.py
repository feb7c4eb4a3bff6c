"""Before any test: one thread a worker, checked types, and caches that outlive the run."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Exported models are the same for every run: they stay beside the checkout.
os.environ.setdefault("CONJOIN_CACHE", str(ROOT / ".cache" / "conjoin"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Workspaces of tests name functions of theirs; tests of trust take this away.
os.environ.setdefault("CONJOIN_TRUST_CODE", "1")
os.environ.setdefault("CONJOIN_DATA", str(ROOT / ".cache" / "conjoin-data"))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook  # noqa: E402 - after the limits are set

#: Rooms whose types are checked at every call.
ROOMS = (
    "spaces", "items", "encoders", "objectives", "measures", "maps", "binding", "search", "report",
    "app",
)  # fmt: skip
install_import_hook([f"conjoin.{room}" for room in ROOMS], "typecheck.checked")


@pytest.fixture(scope="session")
def conjoin_cache() -> Path:
    """Where encoders keep exported models: one folder for this run and the next."""
    folder = Path(os.environ["CONJOIN_CACHE"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
