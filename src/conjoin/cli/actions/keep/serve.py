"""What ``conjoin serve`` prints."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conjoin.cli.console import Console
from conjoin.server.run import Address, serve


def run_serve(
    folder: Path, address: Address, console: Console, *, token_file: Path | None,
    model: str, limits: Sequence[str], workers: int,
) -> None:  # fmt: skip
    """Serve a workspace until a signal ends it; where it answers is said whatever is quiet."""

    def ready(said: Mapping[str, Any]) -> None:
        reach = "; open to whoever reaches it, without a token" if address.open else ""
        ends = "" if address.open else "; Ctrl-C ends it"
        line = f"serving {said['items']:,} items at {said['url']}{reach}{ends}"
        sys.stderr.write(f"conjoin: {line}\n")
        sys.stderr.flush()
        if console.as_json:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()

    serve(
        folder, address, token_file=token_file, model=model, limits=limits, workers=workers,
        ready=ready, note=console.note,
    )  # fmt: skip
