"""What ``conjoin jobs`` prints."""

import time

from conjoin.cli.console import Console
from conjoin.project.embedding import Job, jobs
from conjoin.project.workspace import Workspace

#: Failed cells that are listed on a terminal.
_SHOWN = 5


def run_jobs(ws: Workspace, console: Console) -> None:
    """List the jobs of a workspace; it changes nothing."""
    found = jobs(ws)
    console.say("no job is under way" if not found else f"{len(found)} under way:")
    for job in found:
        console.say(_line(job))
        for one in job.workers:
            console.note(f"  {one['where']}: shard {one['shard']}, {_ago(one['since'])}")
        for item, why in job.failed[:_SHOWN]:
            console.note(f"  item {item}: {why}")
        if len(job.failed) > _SHOWN:
            console.note(f"  and {len(job.failed) - _SHOWN} more; --json lists them all")
    console.result({"jobs": [job.to_json() for job in found]})


def _line(job: Job) -> str:
    left, begun = job.shards - job.done, _ago(job.since)
    who = f"driven by {job.driver} on {job.engine}" if job.driver else (
        "nobody drives it: run conjoin embed again to go on"
    )  # fmt: skip
    return (
        f"{job.modality}: {job.done} of {job.shards} shards done, {left} left, "
        f"{len(job.failed)} cells failed, {job.rows} rows; {begun}; {who}"
    )


def _ago(since: float) -> str:
    """Since when, in words.

    >>> _ago(time.time() - 90)
    'since 1 min'
    """
    gone = max(0, int(time.time() - since))
    if gone < 60:
        return f"since {gone} s"
    return f"since {gone // 60} min" if gone < 7200 else f"since {gone // 3600} h"
