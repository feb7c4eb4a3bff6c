"""Engines: the same values and the same bytes wherever tasks run, and what faults cost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scaled
from conjoin.encoders.run import embed, provenance
from conjoin.errors import ConjoinError, StateError
from conjoin.execution.engines import engine_of
from conjoin.execution.processes import Processes, _gpus
from conjoin.execution.tasks import Local, Needs, Task, perform
from conjoin.project import embedding
from conjoin.project.embedding import DEADLY, Shards, embed_on, jobs
from conjoin.project.workspace import Workspace
from conjoin.spaces.store import Elsewhere
from conjoin.storage.files import alone
from scaled import ROWS, SHARD, stored, vectors, workspace

SECONDS = "conjoin.execution.budget:seconds_of"
TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """The encoder's module is found, and dies never again once the flag is there."""
    monkeypatch.syspath_prepend(str(tmp_path / "ws"))
    monkeypatch.setenv("SCALED_FLAG", str(tmp_path / "flag"))
    yield
    sys.modules.pop("marking", None)


def alike(ws):
    """Embed in this process, in shards as small as those of the engines."""
    embed(ws.store("name"), ws.encoder("name"), ws.cells("name", "text"), shard_rows=scaled.SHARD)


def both(tmp_path, odd=None):
    """The same workspace twice; the first is embedded in this process."""
    here, there = (workspace(tmp_path / name, odd) for name in ("ws", "other"))
    (tmp_path / "flag").touch()
    alike(here)
    (tmp_path / "flag").unlink()
    return here, there


def test_processes_give_the_values_and_refusals_of_this_process():
    tasks = [Task(SECONDS, {"text": text}, text) for text in ("10m", "3s", "never", "2h")]
    found = [
        {done.task.output: (done.value, done.error, done.refused) for done in engine.run(tasks)}
        for engine in (Local(), Processes(2))
    ]
    assert found[0] == found[1]
    assert found[0]["10m"] == (600.0, "", None)
    assert found[0]["never"][2] == ("--budget", "'never'", "give a time such as 90s, 10m or 1h")
    with pytest.raises(ConjoinError, match="never"):
        next(iter(Local().run(tasks[2:]))).result()


def test_tasks_are_read_as_workers_come_free():
    """A run that is left begins nothing more: a budget may end it."""
    read = []

    def tasks():
        for place in range(50):
            read.append(place)
            yield Task(SECONDS, {"text": "1s"}, str(place))

    running = Processes(2).run(tasks())
    next(running)
    running.close()
    assert len(read) == 2


@pytest.mark.parametrize(
    ("name", "args", "found"),
    [("os:getpid", {}, "os:getpid"), (SECONDS, {"text": object()}, "no JSON")],
)
def test_a_task_is_a_function_of_conjoin_and_json(name, args, found):
    with pytest.raises(ConjoinError, match=found):
        Task(name, args, "x")
    assert "no module" in perform("conjoin.nothing:there", {})["error"].lower()


@pytest.mark.parametrize("text", ["processes:0", "dask", "ray://head", "processes:two", ""])
def test_an_engine_that_is_none_is_refused(text):
    with pytest.raises(ConjoinError, match="--engine"):
        engine_of(text)


def test_slots_bound_the_processes():
    assert engine_of("processes:4", 2) == Processes(2)
    assert engine_of("processes:4", 9) == Processes(4)
    assert engine_of("local") == Local()


def test_ray_says_what_to_install_where_it_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConjoinError, match=r"conjoin\[scale\]"):
        next(iter(engine_of("ray").run([Task(SECONDS, {"text": "1s"}, "x")])))


def test_each_process_has_its_own_gpus_and_too_few_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    held = [one["CUDA_VISIBLE_DEVICES"] for one in _gpus(8, 1)]
    assert held == ["3", "5", "7"]
    assert _gpus(8, 2) == [{"CUDA_VISIBLE_DEVICES": "3,5"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConjoinError, match="has 0"):
        list(Processes(2).run([Task(SECONDS, {"text": "1s"}, "x")], Needs(gpus=1)))


def test_a_killed_worker_costs_an_attempt_and_not_a_byte(tmp_path):
    here, there = both(tmp_path, {40: "kill once"})
    made = embed_on(there, "name", Processes(2), Needs(threads=1))
    assert (tmp_path / "flag").exists()  # it did die
    assert (made.made, made.failed) == (ROWS, {})
    assert stored(there) == stored(here)


def test_a_cell_that_kills_its_worker_is_found_and_the_rest_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "TRIES", 1)
    monkeypatch.setattr(scaled, "SHARD", 4)
    here, there = workspace(tmp_path / "ws"), workspace(tmp_path / "other", {40: "deadly"})
    alike(here)
    made = embed_on(there, "name", Processes(2), Needs(threads=1))
    assert {key.id: why for key, why in made.failed.items()} == {"i40": DEADLY}
    assert made.made == ROWS - 1
    known, found = vectors(here), vectors(there)
    beside = {f"i{row}" for row in range(40, 44)}  # its batch lacks it, as it lacks any failed cell
    assert all(found[item] == known[item] for item in found if item not in beside)
    assert set(known) - set(found) == {"i40"}


def test_a_killed_driver_is_gone_on_with_by_another_engine(tmp_path):
    here, there = both(tmp_path)
    code = (
        "import sys; from pathlib import Path; import scaled\n"
        "from conjoin.project import embedding; from conjoin.project.workspace import Workspace\n"
        "from conjoin.execution.tasks import Needs\n"
        "from conjoin.execution.processes import Processes\n"
        "embedding.SHARD_ROWS = scaled.SHARD\n"
        "embedding.embed_on(Workspace(Path(sys.argv[1])), 'name', Processes(1), Needs(threads=1))"
    )
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(there.folder)],
        env={**os.environ, "PYTHONPATH": path, "SCALED_SLEEP": "0.3"},
    )
    deadline = time.monotonic() + 60
    while not (found := jobs(there)) or not found[0].done:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found[0].engine == "processes:1"
    assert found[0].driver
    driver.kill()
    driver.wait()
    [left] = jobs(there)
    assert (left.rows, left.shards, left.driver) == (ROWS, ROWS // SHARD, "")
    assert 0 < left.done < left.shards
    deadline = time.monotonic() + 60
    while any(left.workers for left in jobs(there)):  # its worker ends the shard it has begun
        assert time.monotonic() < deadline
        time.sleep(0.05)
    embed_on(Workspace(there.folder), "name", Local(), Needs())
    assert stored(there) == stored(here)
    assert jobs(there) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"version": "0.0.1"}, "conjoin"),
        ({"frame": "encoder-other"}, "encoder"),
        ({"threads": "threads 64"}, "threads"),
        ({"plan": "another"}, "no such job"),
        ({"folder": "/nowhere/at/all"}, "is not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_worker_that_would_make_other_vectors_refuses_by_name(tmp_path, change, found):
    ws = workspace(tmp_path / "ws")
    shards = Shards(ws, "name", Local(), Needs(threads=1))
    assert isinstance(shards, Elsewhere)
    seen = ws.survey("name")
    plan = ws.store("name").begin(seen.keys, SHARD, provenance(ws.encoder("name"), 1))
    task = shards._task("ready", plan, {})
    assert perform(task.name, task.args)["value"] is None
    asked = {**task.args["asked"], **change}
    if threads := asked.pop("threads", None):
        asked["provenance"] = [*asked["provenance"][:-1], threads]
    answer = perform(task.name, {"asked": asked})
    assert found in answer["error"]
    assert "refused" in answer


def test_a_module_that_a_worker_lacks_is_named(tmp_path):
    ws = workspace(tmp_path / "ws")
    shards = Shards(ws, "name", Processes(1), Needs(threads=1))
    ws.encoder("name")
    sys.path.remove(str(tmp_path / "ws"))
    with pytest.raises(ConjoinError, match=r"worker .*no module marking"):
        embed_on(ws, "name", shards.engine, shards.needs)


def test_counts_that_do_not_add_up_are_refused(tmp_path):
    ws = workspace(tmp_path / "ws")
    store, keys = ws.store("name"), ws.survey("name").keys
    plan = store.begin(keys, ROWS, ["x"])
    few = ws.encoder("name").forward(["a"] * (ROWS - 1))
    store.write(0, keys[:-1], few, {})
    with pytest.raises(StateError, match=f"accounts for {ROWS - 1} of {ROWS} rows"):
        store.commit(plan)


def test_two_drivers_are_one_too_many(tmp_path):
    ws = workspace(tmp_path / "ws")
    from conjoin.storage.digest import digest

    with (
        alone(ws.state / "locks" / f"{digest('name')}.lock", "busy"),
        pytest.raises(ConjoinError, match="another process is embedding name"),
    ):
        embed_on(ws, "name", Processes(1), Needs())
