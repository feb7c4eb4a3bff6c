"""Before any test: one thread a worker, checked types, and caches that outlive the run."""

import os
from fnmatch import fnmatch
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

#: Every room and module of the package: their types are checked at every call.
ROOMS = sorted(
    path.stem
    for path in (ROOT / "src" / "conjoin").iterdir()
    if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem[:2] != "__")
)
install_import_hook([f"conjoin.{room}" for room in ROOMS], "typecheck.checked")


@pytest.fixture(scope="session")
def conjoin_cache() -> Path:
    """Where encoders keep exported models: one folder for this run and the next."""
    folder = Path(os.environ["CONJOIN_CACHE"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _skips() -> list[tuple[str, str]]:
    """Where a test may skip, and how its reason begins, from ``tests/skips.txt``."""
    lines = (ROOT / "tests" / "skips.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(": ", 1) for line in lines if line.strip() and line[0] != "#"]
    return [(where, reason) for where, reason in pairs]


def listed(nodeid: str, reason: str) -> bool:
    """Whether the list of skips names this one."""
    where, said = nodeid.partition("::")[0], reason.removeprefix("Skipped: ")
    return any(fnmatch(where, path) and said.startswith(start) for path, start in _skips())


class Skips:
    """Fails a run in which a test skips that is not on the list; ``.ci/run`` asks for it.

    A browser or a package that is missing would otherwise take its tests away in silence.
    """

    def __init__(self) -> None:
        self.unlisted: set[str] = set()

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not listed(report.nodeid, reason):
            self.unlisted.add(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in sorted(self.unlisted):
            terminalreporter.line(f"skipped, and not in tests/skips.txt: {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    # Workers hand their reports on; only the run that started them judges.
    if os.environ.get("CONJOIN_SKIPS") == "strict" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(), "skips")
