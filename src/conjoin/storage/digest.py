"""digest."""

import hashlib
import json
from typing import Any


def digest(value: Any, size: int = 8) -> str:
    """Hexadecimal BLAKE2b of a value's canonical JSON, or of bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def stable_hash(text: str) -> int:
    """A 63-bit integer of a string, the same on every machine and in every run."""
    return int(digest(text.encode()), 16) >> 1
