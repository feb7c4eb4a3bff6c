"""How an encoder is spelt."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def uri(scheme: str, rest: str, options: Mapping[str, str]) -> str:
    """The URI in one spelling: options sorted, so that equal encoders have equal names.

    >>> uri("hf", "clip", {"tower": "text", "pool": "cls"})
    'hf:clip?pool=cls&tower=text'
    """
    tail = urlencode(sorted(options.items()), safe=",:/", quote_via=quote)
    return f"{scheme}:{rest}" + (f"?{tail}" if tail else "")


#: Options that say how an encoder runs, not what it gives: no part of its name.
RUNS = frozenset({"device", "precision"})


def named(options: Mapping[str, str]) -> dict[str, str]:
    """The options that name an encoder of a network: those that decide its vectors.

    >>> named({"tower": "text", "device": "cuda"})
    {'tower': 'text'}
    """
    return {key: value for key, value in options.items() if key not in RUNS}
