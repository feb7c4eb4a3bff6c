"""How long and how much memory: ``import conjoin`` and ``conjoin --help``, against their goals.

Each is run in fresh interpreters, CPU-seconds of the child being counted; the median is shown
beside the same interpreter doing nothing. ``--json`` prints one object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HELP = "import sys; from conjoin.cli.main import main; sys.argv = ['conjoin', '--help']; main()"
WORK = {"nothing": "pass", "import conjoin": "import conjoin", "conjoin --help": HELP}
GOALS = {"import conjoin": 0.3, "conjoin --help": 0.5}
MEGABYTES = 60


def run(code: str) -> tuple[float, float, bool]:
    """CPU-seconds, peak megabytes, and whether torch was loaded, of one fresh interpreter."""
    probe = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write(str('torch' in sys.modules)))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", probe + code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(said)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said.endswith("True")


def measure(repeats: int) -> list[dict[str, object]]:
    """Median of each piece of work; the runs alternate, so that load falls on all alike."""
    runs = [{name: run(code) for name, code in WORK.items()} for _ in range(repeats)]
    rows = []
    for name in WORK:
        seconds = statistics.median(turn[name][0] for turn in runs)
        memory = max(turn[name][1] for turn in runs)
        torch = any(turn[name][2] for turn in runs)
        goal = GOALS.get(name)
        met = goal is None or (seconds < goal and memory < MEGABYTES and not torch)
        rows.append(
            {"work": name, "seconds": round(seconds, 3), "megabytes": round(memory, 1),
             "torch": torch, "goal_seconds": goal, "met": met}
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measure(asked.repeats)
    if asked.json:
        print(json.dumps({"benchmark": "imports", "rows": rows}))
        return
    for row in rows:
        goal = f"goal {row['goal_seconds']} s, {MEGABYTES} MB" if row["goal_seconds"] else ""
        mark = "" if row["met"] else "  NOT MET"
        print(f"{row['work']:16} {row['seconds']:6.3f} s {row['megabytes']:6.1f} MB  {goal}{mark}")


if __name__ == "__main__":
    main()
