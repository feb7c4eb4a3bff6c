"""A worker process: reads tasks as lines of JSON, performs them, answers in lines of JSON."""

import json
import os
import signal
import sys

from conjoin.execution.tasks import perform


def main() -> None:
    """Perform what stands on the standard input until it ends, as it does with the parent."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(perform(asked["name"], asked["args"])) + "\n")
        answers.flush()
