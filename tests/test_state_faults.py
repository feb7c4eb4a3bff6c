"""State that rotted, was torn, emptied, swapped or left half made: noticed, named, and mended."""

import errno
import os
import shutil

import numpy as np
import pytest

from shelf import Caller, config, shelf, snapshot, table, write_table

pytest.importorskip("lancedb")

from conjoin.retrieval.engines import kernels
from conjoin.retrieval.index.store import IndexStore
from conjoin.storage.files import read_json, write_json


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def lay(folder, modalities=("a", "b"), n=48):
    """A workspace embedded and fitted, without its card."""
    from conjoin.project.fit import pipeline
    from conjoin.project.workspace import Workspace

    shelf(folder, list(modalities), n=n)
    ws = Workspace(folder)
    for modality in ws.modalities:
        ws.embed(modality.name)
    pipeline.fit(ws, method="ridge")
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("laid") / "ws")


@pytest.fixture
def ws(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "ws")


@pytest.fixture(scope="module")
def snapshotted(tmp_path_factory):
    """The same, fitted without the database."""
    with pytest.MonkeyPatch.context() as patch:
        hide(patch)
        return lay(tmp_path_factory.mktemp("laid") / "snap")


def hide(patch):
    """No LanceDB."""
    from conjoin.cli.actions.find import index as index_verbs
    from conjoin.project.search import index as indexing

    for room in (kernels, indexing, index_verbs):
        patch.setattr(room, "have", lambda name: name != "lancedb" and kernels_have(name))


kernels_have = kernels.have
ASK = ("search", "--item", "i3", "--from", "a", "--into", "b", "--json")


def index_of(ws):
    return ws / ".conjoin" / read_json(ws / ".conjoin" / "current.json")["index"]


def fit(call, ws, *words):
    return call.good("fit", "--method", "ridge", "--json", "-w", ws, *words).json


def faults(call, ws):
    return call.good("doctor", "--system", "--json", "-w", ws).json["workspace"]["faults"]


def flip(path, place=None):
    torn = bytearray(path.read_bytes())
    torn[len(torn) // 2 if place is None else place] ^= 4
    path.write_bytes(bytes(torn))


def test_a_snapshot_becomes_a_store_by_fit_and_is_named_until_then(call, snapshotted, tmp_path):
    ws = shutil.copytree(snapshotted, tmp_path / "ws")
    asked = call.good(*ASK, "-w", ws).json
    assert "a store is possible; run: conjoin fit" in faults(call, ws)[0]
    before = snapshot(ws)
    for words in (
        ["delete", "i1"], ["compact"], ["tune"], ["add"], ["export", tmp_path / "x"],
    ):  # fmt: skip
        call.good("index", *words, "--dry-run", "-w", ws)
        assert snapshot(ws) == before, words
    said = call.good("index", "versions", "-w", ws).out
    assert "snapshot without versions" in said
    call.bad(ws, "index", "rollback", "1", "--yes", "-w", ws, says=("snapshot", "conjoin fit"))
    call.bad(ws, "index", "delete", "zz", "--yes", "-w", ws, says=("'zz' is not indexed",))
    assert "snapshot" in fit(call, ws)["index_rebuilt"]  # the remedy
    assert faults(call, ws) == []
    assert fit(call, ws)["index_rebuilt"] is None
    assert call.good("index", "versions", "--json", "-w", ws).json["versions"][0]["rows"] == {
        "a": 48, "b": 48}  # fmt: skip
    assert call.good(*ASK, "-w", ws).json == asked


@pytest.mark.parametrize("damage", ["empty", "fewer", "torn", "gone", "tables", "count", "swapped"])
def test_fit_and_doctor_see_a_spoilt_index_and_fit_builds_it_again(call, ws, tmp_path, damage):
    asked = call.good(*ASK, "-w", ws).json
    index = index_of(ws)
    manifest = index / "manifest.json"
    raw = read_json(manifest)
    if damage == "empty":
        shutil.rmtree(index / "tables")
        shutil.rmtree(index / "derived")
    elif damage == "fewer":  # a building that lost rows, as an earlier conjoin published
        held = raw["history"][-1]["held"][0]
        store = IndexStore(index)
        numbers = store.live(store.version(), store.version().held[0]).numbers[:40]
        held["version"] = store._tables.delete(held["table"], np.asarray(numbers))
        held["rows"] = 8
        write_json(manifest, {k: v for k, v in raw.items() if k != "files"})
    elif damage == "torn":
        manifest.write_bytes(manifest.read_bytes()[:99])
    elif damage == "gone":
        shutil.rmtree(index)
    elif damage == "tables":
        flip(next((index / "tables").rglob("data/*.lance")))
    elif damage == "count":
        raw["history"][-1]["held"][0]["rows"] = 47
        write_json(manifest, raw)
    else:
        other = lay(tmp_path / "other", n=44)
        shutil.rmtree(index)
        shutil.copytree(index_of(other), index)
    told = faults(call, ws)
    assert told, damage
    assert all("conjoin fit" in line for line in told), told
    told = call("index", "check", "-w", ws)
    assert told.code == 2, told.err
    assert "run: conjoin" in told.err
    assert fit(call, ws)["index_rebuilt"]
    assert faults(call, ws) == []
    assert call.good(*ASK, "-w", ws).json == asked
    call.good("index", "check", "--no-storage", "-w", ws)


def test_a_flipped_bit_anywhere_in_a_workspace_changes_no_answer(call, ws):
    """Every state file of a fitted workspace, one bit of each."""
    asked = call.good(*ASK, "-w", ws).json
    noticed = looked = 0
    for name, whole in snapshot(ws / ".conjoin").items():
        path = ws / ".conjoin" / name
        flip(path, len(whole) // 3) if whole else None
        told = call(*ASK, "-w", ws)
        looked += 1
        if told.code == 0:
            assert told.json == asked, name
        else:
            assert told.code == 2, (name, told.err)
            noticed += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
    assert looked > 20
    assert noticed >= 5


@pytest.mark.parametrize(
    "pattern",
    ["spaces/*/*.safetensors", "maps/*/maps/*.safetensors", "maps/*/binding.json",
     "encoders/*/encoder.json", "index/*/derived/*/rows-*.safetensors",
     "index/*/derived/*/*.arrow"],
)  # fmt: skip
def test_large_files_are_found_by_doctor_and_mended_as_it_says(call, ws, monkeypatch, pattern):
    asked = call.good(*ASK, "-w", ws).json
    from conjoin.retrieval.index import cache, opening, reading
    from conjoin.storage import files

    for room in (files, cache, opening, reading):
        monkeypatch.setattr(room, "WHOLE", 0)  # all files are large
    path = sorted((ws / ".conjoin").glob(pattern))[0]
    flip(path, -20)
    told = faults(call, ws)
    assert len(told) == 1, told
    assert path.name in told[0]
    assert "conjoin clean" in told[0]
    call.good("clean", "--yes", "-w", ws)
    call.good("embed", "-w", ws)
    fit(call, ws)
    assert faults(call, ws) == []
    assert call.good(*ASK, "-w", ws).json == asked


def test_torn_probes_are_mended_by_clean(call, tmp_path):
    ws = shelf(tmp_path / "ws", ["text", "a"])
    call.good("embed", "-w", ws)
    fit(call, ws)
    made = call.good("embed", "--json", "-w", ws).json["modalities"]
    for path in (ws / ".conjoin").glob("encoders/*/probes.safetensors"):
        for torn in (path.read_bytes()[:40], b""):
            path.write_bytes(torn)
            call.bad(ws, "embed", "-w", ws, says=("probes", "conjoin clean"))
            assert "probes" in faults(call, ws)[0]
            call.good("clean", "--yes", "-w", ws)
            assert call.good("embed", "--json", "-w", ws).json["modalities"] == made
            assert path.exists()
    call.good("search", "red", "-w", ws)


def test_names_that_lead_out_of_the_state_are_refused(call, ws, tmp_path):
    other = lay(tmp_path / "other", n=44)
    before = snapshot(other)
    path = ws / ".conjoin" / "current.json"
    raw = read_json(path)
    whole = path.read_bytes()
    for key in ("maps", "index"):
        away = f"../../other/.conjoin/{read_json(other / '.conjoin/current.json')[key]}"
        for bad in (away, str(other / ".conjoin" / "index"), 7):
            write_json(path, {**raw, key: bad})
            for words in (["search", "--item", "i3"], ["index", "delete", "i1", "--yes"]):
                call.bad(ws, *words, "-w", ws, says=("not inside", "conjoin clean"))
    assert snapshot(other) == before
    call.good("clean", "--yes", "-w", ws)  # the remedy
    fit(call, ws)
    path.write_bytes(whole)
    call.good(*ASK, "-w", ws)
    binding = next((ws / ".conjoin").glob("maps/*/binding.json"))
    kept = read_json(binding)
    write_json(binding, {**kept, "maps": {**kept["maps"], "a": "../x"}, "marks": {}})
    call.bad(ws, *ASK[:-1], "-w", ws, says=("not inside", "conjoin clean"))


def test_add_stopped_at_any_write_is_done_again(call, ws, monkeypatch):
    """As killed between any two writes: what was in use is, and `add c` ends as at first."""
    from conjoin.storage import files

    before = call.good(*ASK, "-w", ws).json
    config(ws, ["a", "b", "c"])
    call.good("embed", "-q", "-w", ws)
    whole = shutil.copytree(ws, ws.with_name("whole"))
    call.good("add", "c", "-w", whole)
    wanted = call.good("search", "--item", "i3", "--from", "c", "--into", "a", "--json",
                       "-w", whole).json  # fmt: skip
    real, stops = files.os.replace, 0
    for at in (0, 1, 2, 4, 7, 11, 14, 17, 20, 24, 60):
        count = 0

        def stop(source, target, at=at):
            nonlocal count
            count += 1
            if count > at:
                raise KeyboardInterrupt
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", stop)
            code = call("add", "c", "-w", ws).code
        if code == 0:
            break
        assert code == 130
        stops += 1
        if at in (2, 14):
            assert call.good(*ASK, "-w", ws).json == before
    assert stops >= 4
    told = call.good("add", "--dry-run", "--json", "-w", ws).json
    assert told["add"] == []
    assert call.good(*ASK, "-w", ws).json == before
    assert call.good("search", "--item", "i3", "--from", "c", "--into", "a", "--json",
                     "-w", ws).json == wanted  # fmt: skip
    assert faults(call, ws) == []


def test_add_keeps_what_was_deleted_and_its_card_tells_of_the_new_modality(call, ws):
    call.good("index", "delete", "i5", "--yes", "-w", ws)
    config(ws, ["a", "b", "c"])
    said = call.good("embed", "-w", ws).err
    assert "search does not know c yet; run: conjoin add" in said
    told = call.good("add", "-w", ws)
    assert "search sees it" in told.out
    assert "conjoin fit" not in told.err
    rows = call.good("index", "info", "--json", "-w", ws).json["modalities"]
    assert {m["modality"]: m["rows"] for m in rows} == {"a": 47, "b": 47, "c": 48}
    why = [v["why"] for v in call.good("index", "versions", "--json", "-w", ws).json["versions"]]
    assert why == ["build", "delete", "build"]
    card = read_json(index_of(ws).parents[1] / "maps" / index_of(ws).name / "card.json")
    assert [m["name"] for m in card["data"]["modalities"]] == ["a", "b", "c"]


def test_a_folder_that_may_not_be_written_gives_its_evaluation(call, ws, monkeypatch):
    from conjoin.storage import files

    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    before = snapshot(ws)
    with monkeypatch.context() as patch:
        patch.setattr(files.tempfile, "mkstemp", refused)
        told = call.good("evaluate", "--json", "-w", ws)
    assert told.json["results"]
    assert told.err.count("could not be kept") == 2
    assert "Read-only" in told.err
    assert snapshot(ws) == before


def test_a_full_disk_that_names_no_file_is_said_as_one(tmp_path, call, monkeypatch):
    from conjoin.cli.actions.keep import info as verbs

    shelf(tmp_path, ["a", "b"])
    for number, code, says in (
        (errno.ENOSPC, 2, "conjoin: no space left on the disk; free some and run again"),
        (errno.EDQUOT, 2, "no space left"),
        (errno.EIO, 70, "defect in conjoin"),
    ):

        def full(*_, number=number, **__):
            raise OSError(number, "as the system says")

        monkeypatch.setattr(verbs, "run_info", full)
        told = call("info", "-w", tmp_path)
        assert told.code == code
        assert says in told.err
        assert told.err.count("\n") == 1


def test_two_at_once_are_told_of_each_other(call, ws):
    from conjoin.storage.files import alone

    for lock, words in (
        (min((ws / ".conjoin" / "locks").glob("*")), ["embed", "a", "b"]),
        (index_of(ws) / ".lock", ["index", "delete", "i1", "--yes"]),
    ):
        with alone(lock, "busy"):
            call.bad(ws, *words, "-w", ws, says=("another process is", "try again"))
        call.good(*words, "-w", ws)


def _killed_at(path):
    """What a writer leaves that dies before its file is whole."""
    from conjoin.storage.files import atomic

    child = os.fork()
    if child == 0:
        with atomic(path) as file:
            file.write(b"half")
            os._exit(9)
    os.waitpid(child, 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows neither forks nor sweeps")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_the_next_change_sweeps_what_killed_writers_left_and_nothing_at_work(call, ws):
    from conjoin.project.fit import pipeline
    from conjoin.project.workspace import Workspace
    from conjoin.storage.files import atomic, temporaries

    own = ws / ".notes.of.mine.tmp"
    own.write_text("not ours")

    def litter():
        for path in ("maps/x/fit.json", "heads/one.json", "../conjoin.toml"):
            _killed_at(ws / ".conjoin" / path)
        return {*temporaries(ws / ".conjoin"), *temporaries(ws, "conjoin.toml")}

    def changed():
        with Workspace(ws).changing():
            pass

    changes = (changed, lambda: Workspace(ws).embed("a"), lambda: pipeline.fit(Workspace(ws)))
    for change in (*changes, lambda: call("clean", "-w", ws, "--yes")):
        with atomic(ws / ".conjoin" / "runs" / "at-work.json") as file:
            file.write(b"{}")
            file.flush()
            left = litter()
            assert len(left) == 4  # three that were killed, and the one at work
            change()
            assert [path for path in left if path.exists()] == [
                path for path in left if "at-work" in path.name
            ]
        assert (ws / ".conjoin" / "runs" / "at-work.json").read_bytes() == b"{}"
    assert own.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows sweeps nothing")
def test_a_file_swept_before_its_writer_held_it_is_begun_again(tmp_path, monkeypatch):
    from conjoin.storage import files

    real, made = files.tempfile.mkstemp, []

    def swept(**given):
        made.append(real(**given))
        if len(made) == 1:
            assert files.sweep(tmp_path) != []
        return made[-1]

    monkeypatch.setattr(files.tempfile, "mkstemp", swept)
    with files.atomic(tmp_path / "x.json") as file:
        assert files.sweep(tmp_path) == []
        file.write(b"whole")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_bytes() == b"whole"


def test_index_add_on_a_full_disk_leaves_the_old_index_or_the_new_and_ends_with_room(
    call, ws, monkeypatch
):
    """Full at writes of files and of the database, early and late; rows come and go."""
    from conjoin.retrieval.index.lance import Tables
    from conjoin.storage import files

    def seen(folder):
        index = IndexStore(index_of(folder)).open()
        held = {name: sorted(space.ids.tolist()) for name, space in index.spaces.items()}
        return held, call.good(*ASK, "-w", folder).json["lists"]

    columns = table(48)
    columns["a"][5] = columns["a"][30]
    picked = [*(row for row in range(48) if row != 9), 20]
    columns = {name: [values[row] for row in picked] for name, values in columns.items()}
    columns["id"][-1] = "new"
    write_table(ws, columns)
    call.good("embed", "-q", "-w", ws)
    words = ("index", "add", "--prune", "--yes", "-q")
    whole = shutil.copytree(ws, ws.with_name("whole"))
    call.good(*words, "-w", whole)
    old, new = seen(ws), seen(whole)
    assert old[0] != new[0]
    ended = []
    for room in range(1, 80, 6):
        folder, count = shutil.copytree(ws, ws.with_name(f"full-{room}")), 0

        def full(real, room=room):
            def write(*given, **named):
                nonlocal count
                count += 1
                if count > room:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real(*given, **named)

            return write

        with monkeypatch.context() as patch:
            patch.setattr(files.tempfile, "mkstemp", full(files.tempfile.mkstemp))
            patch.setattr(files.os, "fsync", full(files.os.fsync))
            patch.setattr(Tables, "_db", property(full(Tables._db.fget)))
            told = call(*words, "-w", folder)
        assert seen(folder) in (old, new), (room, told)
        ended.append(told.code)
        if told.code == 0:
            break
        assert told.code == 2
        assert "no space left" in told.err
        call.good(*words, "-w", folder)
        assert seen(folder) == new
    assert len(ended) > 3
    assert ended[-1] == 0
