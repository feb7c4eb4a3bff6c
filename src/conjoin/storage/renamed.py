"""Words that stored state was written with, and the ones in use now.

Kinds and two methods got other names. What is hashed into an identity (a frame, the key of a fit,
the key of a claim's scores) keeps the word it was first written with, so that no identity changes
with a name; what is read back gets the name in use now. Command lines know the new words only.
"""

from collections.abc import Mapping

#: Kinds of the catalogue: the word in use, and the one hashed.
KINDS: Mapping[str, str] = {
    "loss": "objective",
    "metric": "measure",
    "aligner": "binder",
    "score-fusion": "mixer",
    "query-composition": "composer",
    "vector-codec": "storage",
    "list-truncation": "cutoff",
    "query-suggestion": "suggester",
    "sparse-encoder": "sparse",
    "multi-vector": "aggregation",
}
#: Methods: the name in use, and the one hashed.
METHODS: Mapping[str, str] = {"identity": "nothing", "mean-centering": "centring"}
#: Fields of tasks that name a method: the name in use, and the one hashed.
FIELDS: Mapping[str, str] = {"aligner": "binder"}

_NOW = {old: new for new, old in METHODS.items()}


def hashed(name: str) -> str:
    """The name of a method as identities hold it.

    Examples
    --------
    >>> hashed("identity"), hashed("ridge")
    ('nothing', 'ridge')
    """
    return METHODS.get(name, name)


def current(name: str) -> str:
    """The name of a method as it is called now, whichever was stored.

    Examples
    --------
    >>> current("centring"), current("mean-centering"), current("ridge")
    ('mean-centering', 'mean-centering', 'ridge')
    """
    return _NOW.get(name, name)
