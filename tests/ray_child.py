"""A cluster of two nodes on loopback, and what happens to a job on it; run by test_ray.

Usage, in namespaces of its own for the network and for processes, which end with it:
``python ray_child.py FOLDER``. Prints a JSON object. Ray listens on every address it finds, so
that there must be none but loopback here.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HEAD = "127.0.0.1:6379"
RAY = str(Path(sys.executable).with_name("ray"))


def loopback() -> None:
    """Bring up the only interface there is."""
    with socket.socket() as one:
        fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 0x49))  # SIOCSIFFLAGS: up, running


def started(*arguments: str) -> int:
    """Start a node of one core; the process that is the node."""
    before = set(raylets())
    subprocess.run(
        [RAY, "start", *arguments, "--node-ip-address=127.0.0.1", "--num-cpus=1",
         "--object-store-memory=80000000", "--disable-usage-stats"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    (made,) = set(raylets()) - before
    return made


def raylets() -> list[int]:
    """Processes that are nodes."""
    return named("raylet/raylet")


def named(part: str) -> list[int]:
    """Processes of this namespace whose program's name ends so."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            found += [int(folder.name)] if program.endswith(part) else []
    return found


def main(folder: Path) -> None:  # noqa: PLR0915 - one cluster, one story
    """Embed on a cluster that loses a node, and on one that loses its head."""
    import scaled
    from conjoin.encoders.run import embed
    from conjoin.execution.ray_engine import Ray
    from conjoin.execution.tasks import EngineLost, Local, Needs
    from conjoin.project import embedding
    from conjoin.project.workspace import Workspace

    os.environ |= {"SCALED_FLAG": str(folder / "flag"), "PYTHONPATH": os.pathsep.join(
        [str(folder / "local"), *filter(None, sys.path)])}  # fmt: skip
    sys.path.insert(0, str(folder / "local"))
    spaces = {name: scaled.workspace(folder / name) for name in ("local", "node", "head")}
    os.environ["SCALED_SLEEP"] = "0"
    local = spaces["local"]
    store, encoder = local.store("name"), local.encoder("name")
    embed(store, encoder, local.cells("name", "text"), shard_rows=scaled.SHARD)
    os.environ["SCALED_SLEEP"] = "0.4"
    head = started("--head", "--port=6379", "--include-dashboard=false")
    second = started(f"--address={HEAD}")
    engine, said = Ray(HEAD), {}

    def run(name: str, act=lambda: None) -> None:
        acted = False

        def progress(done: int, _: int) -> None:
            nonlocal acted
            if not acted and done:
                acted = True
                act()

        began = time.monotonic()
        try:
            embedding.embed_on(spaces[name], "name", engine, Needs(threads=1), progress=progress)
            said[name] = "made"
        except EngineLost as error:
            said[name] = f"{error.exit_code}: {error}"
        except ValueError as error:
            said[name] = str(error)
        said[f"{name} seconds"] = time.monotonic() - began

    began = time.monotonic()
    try:
        list(engine.run([], Needs(gpus=1)))
    except ValueError as error:
        said["gpus"], said["gpus seconds"] = str(error), time.monotonic() - began
    run("node", lambda: os.kill(second, signal.SIGKILL))
    gcs = named("gcs_server")
    run("head", lambda: [os.kill(pid, signal.SIGKILL) for pid in (*gcs, head)])
    said["left"] = embedding.jobs(spaces["head"])[0].to_json()
    os.environ["SCALED_SLEEP"] = "0"
    embedding.embed_on(Workspace(folder / "head"), "name", Local(), Needs())
    known = scaled.stored(spaces["local"])
    said["same"] = {name: scaled.stored(ws) == known for name, ws in spaces.items()}
    print(json.dumps(said))


if __name__ == "__main__":
    loopback()
    main(Path(sys.argv[1]))
