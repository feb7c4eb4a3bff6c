"""A binding inside MTEB, as an encoder and as a search model.

``mteb`` is imported where an object is made: it takes seconds. Read in
``mteb/models/models_protocols.py`` of the package ``mteb`` 2.26: an encoder is asked batch by batch
(``encode``) and compares by ``similarity``; a search model is handed the corpus (``index``) and
then the queries (``search``). Pictures arrive decoded and keep their pixels; MTEB's own metrics cut
MRR and nDCG at k.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Search, find
from conjoin.errors import ConjoinError, optional
from conjoin.evaluation.by_shape.base import unit_rows
from conjoin.evaluation.by_shape.rank import BLOCK, bm25
from conjoin.evaluation.formats.base import Cells
from conjoin.evaluation.placing import Placed
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.score_fusion import Scored
from conjoin.spaces.space import require_spaces

#: Kinds of cells and the fields that MTEB hands them in.
KINDS = ("text", "image", "audio")


@dataclass(frozen=True, eq=False)
class SearchSettings:
    """What the index of a search model does beside cosines.

    Parameters
    ----------
    correction : a row of kind ``correction``, fitted anew to each corpus; none by default.
    bank : vectors ``[n, d]`` of queries in the binding's frame, to which it is fitted. Never those
        that MTEB asks.
    words : share of BM25 in the mixture of scores where queries and documents are texts.
    """

    correction: str | None = None
    bank: np.ndarray | None = None
    words: Annotated[float, Search(0.0, 1.0)] = 0.0

    def __post_init__(self) -> None:
        if (self.correction is None) != (self.bank is None):
            raise ConjoinError("settings", "correction without bank, or bank without correction",
                               "give both or neither")  # fmt: skip
        if not 0 <= self.words <= 1:
            raise ConjoinError("settings.words", f"{self.words}", "give 0 to 1")


def encoder(placed: Placed, *, name: str = "conjoin/binding") -> Any:
    """A model that ``mteb.evaluate`` takes: it places cells and compares them by cosine.

    Parameters
    ----------
    placed : a binding with its encoders, as ``Project.placed`` gives it.
    name : ``organisation/model``, under which MTEB files results.

    Raises
    ------
    MissingDependency : mteb is not installed.

    Examples
    --------
    >>> def scores(project, task):
    ...     import mteb
    ...     return mteb.evaluate(encoder(project.placed()), task, cache=None)
    """
    optional("mteb", "bench")
    return _Encoder(placed, name)


def search(
    placed: Placed, settings: SearchSettings | None = None, *, name: str = "conjoin/index"
) -> Any:
    """A search model that ``mteb.evaluate`` takes: an index over the corpus that MTEB hands it.

    Parameters
    ----------
    placed : a binding with its encoders, as ``Project.placed`` gives it.
    settings : a correction, fitted anew to each corpus, and words; plain cosines when not given.

    Raises
    ------
    MissingDependency : mteb is not installed.
    """
    optional("mteb", "bench")
    return _Search(placed, settings or SearchSettings(), name)


def _meta(name: str, placed: Placed) -> Any:
    meta = optional("mteb.models.model_meta", "bench").ModelMeta
    kinds = [kind for kind in KINDS if kind in placed.by_kind]
    return meta.create_empty({"name": name, "revision": "local", "modalities": kinds})


@dataclass(eq=False)
class _Encoder:
    placed: Placed
    name: str

    @property
    def mteb_model_meta(self) -> Any:
        return _meta(self.name, self.placed)

    def encode(self, inputs: Any, **told: Any) -> np.ndarray:
        """``[n, d]`` float32 vectors of length 1, of every batch in turn."""
        wanted = _modalities(told)
        batches = [_cells(batch, wanted, self.placed) for batch in inputs]
        return np.concatenate([unit_rows(self.placed(cells)) for cells in batches])

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines ``[n, m]``."""
        left, right = _rows(embeddings1), _rows(embeddings2)
        return optional("torch", "train").from_numpy(left @ right.T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines ``[n]`` of rows in line."""
        left, right = _rows(embeddings1), _rows(embeddings2)
        return optional("torch", "train").from_numpy((left * right).sum(axis=1))


@dataclass(eq=False)
class _Search:
    placed: Placed
    settings: SearchSettings
    name: str
    corpus: Cells = field(default_factory=lambda: Cells("text", {}))
    held: Index | None = None

    @property
    def mteb_model_meta(self) -> Any:
        return _meta(self.name, self.placed)

    def index(self, corpus: Any, **told: Any) -> None:
        """Place the corpus, and fit what corrects its scores."""
        prompt = optional("mteb.types", "bench").PromptType.document
        self.corpus = _dataset(corpus, prompt, self.placed, told)
        space = self.placed.space(self.corpus)
        require_spaces({"corpus": space}, "index")
        edge, corrections = ("query", "corpus"), {}
        if self.settings.correction is not None:
            method = find("correction", self.settings.correction).make()
            bank = unit_rows(np.asarray(self.settings.bank, dtype=np.float32))
            corrections[edge] = method.fit(unit_rows(np.asarray(space.vectors)), bank)
        self.held = Index.build({"corpus": space}, corrections)

    def search(self, queries: Any, **told: Any) -> dict[str, dict[str, float]]:
        """By query, by document, a score; the best ``top_k``, or all of those already chosen."""
        if self.held is None:
            raise ConjoinError("search", "nothing is indexed", "call index first")
        prompt = optional("mteb.types", "bench").PromptType.query
        asked = _dataset(queries, prompt, self.placed, told)
        k = min(int(told["top_k"]), len(self.corpus.values))
        given = told.get("top_ranked")
        deep = len(self.corpus.values) if given or self.settings.words else k
        found = self.held.search_many(self.placed.space(asked), "query", into=("corpus",), k=deep)
        lists = [{hit.id: float(hit.score) for hit in one.lists["corpus"]} for one in found]
        if self.settings.words and asked.kind == self.corpus.kind == "text":
            lists = _with_words(asked, self.corpus, lists, self.settings.words)
        named = dict(zip(asked.values, lists, strict=True))
        if given:
            named = {q: {d: one[d] for d in given.get(q, one) if d in one}
                     for q, one in named.items()}  # fmt: skip
        return {q: dict(sorted(one.items(), key=lambda x: -x[1])[:k]) for q, one in named.items()}


def _with_words(
    asked: Cells, corpus: Cells, lists: Sequence[Mapping[str, float]], share: float
) -> list[dict[str, float]]:
    """Scores mixed with BM25, both scaled to ``[0, 1]`` from the least a score can be."""
    mixer = find("score-fusion", "cc").make()
    ids, count = np.array(list(corpus.values)), len(asked.values)
    words, mixed = bm25(asked, corpus), []
    rows: Iterator[np.ndarray] = (row for start in range(0, count, BLOCK) for row in words(start))
    for at, row in enumerate(rows):
        hits = np.flatnonzero(row)
        both = {
            "vectors": Scored(np.array(list(lists[at])), np.array(list(lists[at].values())), -1.0),
            "words": Scored(ids[hits], row[hits], 0.0, 0.0),
        }
        found = mixer.mix(both, {"vectors": 1 - share, "words": share})
        mixed.append(dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)))
    return mixed


def _rows(vectors: Any) -> np.ndarray:
    return unit_rows(np.atleast_2d(np.asarray(vectors, dtype=np.float32)))


def _modalities(told: Mapping[str, Any]) -> list[str]:
    return list(told["task_metadata"].get_modalities(told.get("prompt_type")))


def _dataset(data: Any, prompt: Any, placed: Placed, told: Mapping[str, Any]) -> Cells:
    """A whole data set as cells by id, prepared as MTEB prepares it for encoders."""
    loader = optional("mteb._create_dataloaders", "bench").create_dataloader
    wanted = list(told["task_metadata"].get_modalities(prompt))
    batches = loader(data, task_metadata=told["task_metadata"], prompt_type=prompt,
                     batch_size=256, num_proc=told.get("num_proc"))  # fmt: skip
    parts = [_cells(batch, wanted, placed) for batch in batches]
    cells = [cell for part in parts for cell in part.values.values()]
    ids = [str(each) for each in data["id"]]
    return Cells(parts[0].kind, dict(zip(ids, cells, strict=True)))


def _cells(batch: Mapping[str, Any], wanted: Sequence[str], placed: Placed) -> Cells:
    """One batch as cells; of several modalities an item has, the last of text, image, audio."""
    for kind in reversed(KINDS):
        if kind in wanted and kind in batch and kind in placed.by_kind:
            values = [_cell(kind, value) for value in batch[kind]]
            return Cells(kind, {str(at): value for at, value in enumerate(values)})
    raise ConjoinError("mteb", f"hands {', '.join(sorted(set(KINDS) & set(batch)))}",
                       f"bind one of that kind; bound are {', '.join(placed.by_kind)}")  # fmt: skip


def _cell(kind: str, value: Any) -> Any:
    """A cell as encoders read it: decoded pictures as they are, sounds as samples and rate."""
    if kind == "audio" and not isinstance(value, Mapping):
        samples = value.get_all_samples()  # as torchcodec decodes
        array = np.asarray(samples.data, dtype=np.float32).mean(axis=0)
        return {"array": array, "sampling_rate": int(samples.sample_rate)}
    return value
