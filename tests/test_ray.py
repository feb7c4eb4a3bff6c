"""A job on Ray: the bytes of one machine, whoever dies on the way."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.scale
#: A network of its own with loopback alone, and processes that end with the first of them.
ALONE = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child",
         "--mount-proc"]  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the child saw: one cluster for all tests here."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs ray")
    if (
        not shutil.which("unshare")
        or subprocess.run([*ALONE, "true"], capture_output=True).returncode
    ):
        pytest.skip("needs a network namespace")
    path = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as short:  # of sockets
        done = subprocess.run(
            [*ALONE, sys.executable, str(Path(__file__).with_name("ray_child.py")),
             str(tmp_path_factory.mktemp("ray"))],
            env={**os.environ, "PYTHONPATH": path, "RAY_TMPDIR": short},
            capture_output=True, text=True, timeout=220,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_nodes_of_which_one_dies_give_the_bytes_of_one_process(said):
    assert said["node"] == "made"
    assert said["same"]["node"]


def test_a_head_that_dies_ends_the_job_in_a_sentence_and_leaves_what_was_made(said):
    assert said["head"].startswith("3: ray://127.0.0.1:6379: the head of the cluster is gone; ")
    assert said["head seconds"] < 60
    assert 0 < said["left"]["done"] < said["left"]["shards"]
    assert said["same"]["head"]  # gone on with in one process


def test_gpus_that_no_node_has_are_said_at_once(said):
    assert "1 GPU for a task" in said["gpus"]
    assert said["gpus seconds"] < 30
