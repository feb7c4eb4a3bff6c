"""Search by words: BM25 over what is written of the items, in any script, offline."""

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, optional
from conjoin.retrieval.ranking.score_fusion import Scored
from conjoin.storage.digest import digest

#: Words are found by Unicode's rules and by dictionaries for scripts without spaces; accents and
#: capitals are folded. No stemming and no stop words: those know one language.
TOKENS: Mapping[str, Any] = {
    "base_tokenizer": "icu", "lower_case": True, "ascii_folding": True, "stem": False,
    "remove_stop_words": False, "with_position": False, "max_token_length": 80,
}  # fmt: skip

_TABLE, _COLUMN = "texts", "text"


@dataclass(frozen=True, eq=False)
class Lexical:
    """Items by the words written of them, scored by BM25.

    ``score(q, d) = Σ_t idf(t) · f (k + 1) / (f + k (1 − b + b |d| / mean |d|))`` over the words t
    of the query, f being how often d holds t, ``idf(t) = log(1 + (N − n_t + ½) / (n_t + ½))``,
    k = 1.2 and b = 0.75. An item is one text: all that is written of it. It scores 0 where it
    holds no word of the query, and is not listed.

    Make one by :meth:`open`.

    Parameters
    ----------
    count : items with a text.
    place : where it lies.

    References
    ----------
    Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """

    table: Any
    count: int
    place: Path

    @classmethod
    def open(cls, folder: Path, texts: Mapping[str, Sequence[str]]) -> "Lexical":
        """Open the words of these texts, or index them where they changed.

        Parameters
        ----------
        folder : where it lies, in a part named by the content; older parts are removed.
        texts : by item id, each text of an item; the same text twice counts once.

        Raises
        ------
        MissingDependency : lancedb is not installed.
        ConjoinError : no item has a text.
        """
        lancedb = optional("lancedb", "search")
        rows = {str(item): "\n".join(dict.fromkeys(found)) for item, found in texts.items()}
        rows = {item: text for item, text in rows.items() if text.strip()}
        if not rows:
            raise ConjoinError("words", "no item has a text", "search without them")
        place = folder / digest([sorted(rows.items()), dict(TOKENS), lancedb.__version__])
        if not place.exists():
            _build(lancedb, folder, place, rows)
        return cls.kept(place, len(rows))

    @classmethod
    def kept(cls, place: Path, count: int) -> "Lexical":
        """What :meth:`open` left there, for so many items."""
        lancedb = optional("lancedb", "search")
        return cls(lancedb.connect(place).open_table(_TABLE), count, place)

    def search(self, query: str, k: int | None = None, *, exclude: Collection[str] = ()) -> Scored:
        """The items that hold a word of the query, best first.

        Parameters
        ----------
        query : taken as words; nothing in it is syntax.
        k : items at most; all that match when not given.
        exclude : item ids to leave out.
        """
        asked = optional("lancedb.query", "search").MatchQuery(query, _COLUMN)
        most = min(self.count, self.count if k is None else k + len(exclude))
        found = (
            self.table.search(asked, query_type="fts")
            .select(["id", "_score"]).limit(most).to_arrow()
        )  # fmt: skip
        ids = np.array(found["id"].to_pylist(), dtype=str)
        scores = np.array(found["_score"].to_pylist(), dtype=np.float64)
        kept = ~np.isin(ids, [str(item) for item in exclude])
        whole = len(ids) < most or most == self.count
        ids, scores = ids[kept], scores[kept]
        floor = 0.0 if whole or not len(scores) else float(scores.min())
        best = Scored(ids, scores, 0.0, floor).ordered()
        return best if k is None else best.head(k)


def _build(lancedb: Any, folder: Path, place: Path, rows: Mapping[str, str]) -> None:
    """Index beside, then move: whoever looks finds all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".words.", suffix=".tmp", dir=folder))
    try:
        data = [{"id": item, _COLUMN: text} for item, text in rows.items()]
        table = lancedb.connect(made).create_table(_TABLE, data=data)
        table.create_index(_COLUMN, config=optional("lancedb.index", "search").FTS(**TOKENS))
        try:
            os.rename(made, place)
        except OSError:  # another process was first
            if not place.exists():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    (folder / "seen.json").unlink(missing_ok=True)
    for old in folder.iterdir():
        if old != place and old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
