"""The folder outside all workspaces: exported models, fetched weights, fetched pictures."""

import os
from pathlib import Path

from conjoin.storage.files import expanded


def cache_folder() -> Path:
    """Where what may be made or fetched again is kept.

    ``CONJOIN_CACHE``, else ``$XDG_CACHE_HOME/conjoin``, else ``~/.cache/conjoin``.
    """
    if os.environ.get("CONJOIN_CACHE"):
        return expanded(os.environ["CONJOIN_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    return (expanded(base) if base else Path.home() / ".cache") / "conjoin"
