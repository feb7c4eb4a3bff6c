"""``ask``: the documents of a workspace opened once and asked many times."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conjoin.answering.answer import Answer, Passage, disagreeing, quotes
from conjoin.answering.model import Model, written
from conjoin.answering.refusal import Gates, list_features
from conjoin.answering.selection.base import Picker, Pool, Question, picked
from conjoin.answering.support import Support
from conjoin.answering.words import Words, mixed
from conjoin.errors import ConjoinError
from conjoin.project.answering.evidence import Minted, learnt, pool_of, prefers
from conjoin.project.search.queries import Query
from conjoin.project.search.ranking import Part
from conjoin.project.search.session import SearchSession
from conjoin.project.workspace import Workspace

#: Passages that are quoted from, or given to a model.
EVIDENCE = 5
#: Questions of the structure that the gates are fitted on, at most, and at least.
MINTED, FEW = 600, 20
#: Share of a question's words that one passage must hold where no gate is fitted.
HALF = 0.5
#: A question and the modality that reads it, or none, to a vector.
Reads = Callable[[str, str | None], np.ndarray]
_COLUMNS = (
    "document", "page", "path", "text", "passage", "caption", "pictures", "breaks", "asked"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Documents:
    """Pieces of documents, their words, and where something is fitted their vectors."""

    ws: Workspace
    passages: tuple[Passage, ...]
    asked: tuple[tuple[str, ...], ...]
    session: SearchSession | None
    _pickers: dict[str, Picker] = field(default_factory=dict, repr=False)

    @classmethod
    def can_open(cls, ws: Workspace) -> bool:
        """Whether ``conjoin read`` wrote the table."""
        return not _lost(ws)

    @classmethod
    def open(cls, ws: Workspace, session: SearchSession | None = None) -> "Documents":
        """The documents of a workspace whose table ``conjoin read`` wrote.

        Parameters
        ----------
        session : the fit in use, where it is open already.

        Raises
        ------
        ConjoinError : the table has no such columns.
        """
        lost = _lost(ws)
        if lost:
            raise ConjoinError(
                str(ws.config.items.table), f"has no column {lost[0]!r}",
                "ask a table that conjoin read wrote",
            )  # fmt: skip
        columns = {name: list(ws.items.column(name)) for name in _COLUMNS}
        made = tuple(
            Passage(
                str(item), str(columns["document"][at]), int(columns["page"][at] or 0),
                tuple(columns["path"][at] if columns["path"][at] is not None else ()),
                "\n".join(filter(None, (columns["passage"][at], columns["caption"][at]))),
                tuple(int(v) for v in _some(columns["breaks"][at])),
                tuple(map(str, _some(columns["pictures"][at]))),
            )
            for at, item in enumerate(ws.items.ids)
        )  # fmt: skip
        asked = tuple(tuple(map(str, _some(own))) for own in columns["asked"])
        fitted = (ws.state / "current.json").exists()
        session = SearchSession.open(ws) if fitted and session is None else session
        return cls(ws, made, asked, session)

    @cached_property
    def words(self) -> Words:
        """Headings and text of every piece."""
        return Words.of(" ".join((*one.path, one.text)) for one in self.passages)

    @cached_property
    def bodies(self) -> Words:
        """Text without headings, in which a heading has to be found when gates are fitted."""
        return Words.of(one.text for one in self.passages)

    def cosines(self, question: str, read: Reads | None = None) -> np.ndarray:
        """Similarity of each piece; zeros where nothing is fitted or nothing reads a question."""
        own = self.vector(question, read)
        found = np.zeros(len(self.passages))
        if own is not None:
            rows, right = self._vectors
            found[rows] = right @ own
        return found

    def vector(self, question: str, read: Reads | None = None) -> np.ndarray | None:
        """A question in the joint frame, of length 1; ``None`` where nothing is fitted."""
        if self.session is None or "passage" not in self.session.index.spaces:
            return None
        asking = "question" if "question" in self.session.fit.binding.maps else None
        if read is None:
            part = Part("text", Query(text=question, source=asking), 1.0)
            own = np.asarray(self.session.read(part).space.vectors[0], np.float32)
        else:
            own = np.asarray(read(question, asking), np.float32)
        return np.asarray(own / max(float(np.linalg.norm(own)), 1e-9))

    @cached_property
    def _vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the pieces that have one, their places and unit vectors in the joint frame."""
        assert self.session is not None
        space = self.session.index.spaces["passage"]
        place = {one.id: at for at, one in enumerate(self.passages)}
        return np.array([place[str(item)] for item in space.ids]), _unit(space.vectors)

    @cached_property
    def gates(self) -> Gates | None:
        """When to refuse; ``None`` where the documents ask too little of themselves."""
        answered, removed = self.minted()
        return Gates.fit(answered, removed) if len(answered) >= FEW else None

    @cached_property
    def _places(self) -> list[tuple[int, str]]:
        """Rows that the structure asks for, and what it asks; at most :data:`MINTED`, in order."""
        places = [(row, own[0]) for row, own in enumerate(self.asked) if own]
        return places[:: max(1, -(-len(places) // MINTED))]

    @cached_property
    def pool(self) -> Pool:
        """The pieces as selectors see them."""
        vectors = np.zeros((len(self.passages), 1))
        if self.session is not None and "passage" in self.session.index.spaces:
            rows, right = self._vectors
            vectors = np.zeros((len(self.passages), right.shape[1]))
            vectors[rows] = right
        return pool_of(self.passages, self.ws.items, vectors)

    def questions(self) -> Minted:
        """What the structure asks, as selectors learn from it; headings are not searched."""
        places = self._places
        rows = [row for row, _ in places]
        near = self._near(rows)
        scores = [mixed([self.bodies.scores(said), own])
                  for (_, said), own in zip(places, near, strict=True)]  # fmt: skip
        vectors = np.zeros((len(rows), self.pool.vectors.shape[1]))
        if self.session is not None and {"question", "passage"} <= set(self.session.index.spaces):
            left = self.session.index.spaces["question"]
            first = {str(item): at for at, item in reversed(list(enumerate(left.ids)))}
            asked = _unit(left.vectors)
            for at, row in enumerate(rows):
                own_row = first.get(self.passages[row].id)
                if own_row is not None:
                    vectors[at] = asked[own_row]
        return Minted(np.array(rows, int), np.array(scores), vectors)

    def picker(self, name: str) -> Picker:
        """A selector fitted to these documents, once.

        Raises
        ------
        ConjoinError : it is unknown, or there is too little to learn from.
        """
        if name not in self._pickers:
            self._pickers[name] = learnt(name, self.pool, self.questions())
        return self._pickers[name]

    def _chosen(
        self, name: str, question: str, total: np.ndarray, history: tuple[str, ...],
        read: Reads | None,
    ) -> np.ndarray:  # fmt: skip
        """Rows of the evidence for a question, best first."""
        if not name:
            return np.argsort(-total, kind="stable")[:EVIDENCE]
        before = []
        for said in history[-2:]:
            own = mixed([self.words.scores(said), self.cosines(said, read)])
            before.append(self.pool.vectors[int(np.argmax(own))])
        width = self.pool.vectors.shape[1]
        vector = self.vector(question, read)
        asked = Question(
            np.zeros(width) if vector is None else vector, total,
            np.array(before).reshape(-1, width), prefers(question),
        )  # fmt: skip
        return picked(self.picker(name), asked, self.pool)

    def minted(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of the structure's questions, with their answers and without, ``[n, 6]``.

        A question comes from its piece's heading, caption or links; headings are not searched.
        Its section is what is taken out: pieces under the same headings of the same document.
        """
        places = self._places
        near = self._near([row for row, _ in places])
        known: dict[Any, int] = {}
        sections = np.array([known.setdefault((one.document, one.path), len(known))
                             for one in self.passages])  # fmt: skip
        answered, removed = [], []
        for at, (row, said) in enumerate(places):
            covered, by_words = self.bodies.covered(said), self.bodies.scores(said)
            cosine = near[at]
            keep = sections != sections[row]
            if keep.sum() < 5:
                continue
            lists = [by_words, cosine]
            answered.append(list_features(mixed(lists), covered, cosine))
            left = [one[keep] for one in lists]
            removed.append(list_features(mixed(left), covered[keep], cosine[keep]))
        return np.array(answered).reshape(-1, 6), np.array(removed).reshape(-1, 6)

    def _near(self, rows: list[int]) -> np.ndarray:
        """Cosines ``[questions, pieces]`` from stored vectors; zeros where there are none."""
        found = np.zeros((len(rows), len(self.passages)))
        spaces = {} if self.session is None else self.session.index.spaces
        if not {"question", "passage"} <= set(spaces):
            return found
        left = spaces["question"]
        first = {str(item): at for at, item in reversed(list(enumerate(left.ids)))}
        asked, (columns, right) = _unit(left.vectors), self._vectors
        for at, row in enumerate(rows):
            own = first.get(self.passages[row].id)
            if own is not None:
                found[at, columns] = right @ asked[own]
        return found

    def _looked(self, question: str, read: Reads | None) -> "_List":
        """Every piece scored, and what the gates say of the list."""
        cosine, covered = self.cosines(question, read), self.words.covered(question)
        total = mixed([self.words.scores(question), cosine])
        gates = self.gates if self.session is not None else None
        if gates is not None:
            return _List(total, covered, gates.cause(list_features(total, covered, cosine)))
        # headings find themselves by words alone: no list of theirs says when to refuse
        order = np.argsort(-total, kind="stable")[:EVIDENCE]
        return _List(total, covered, "" if float(covered[order].max()) >= HALF else "unlike")

    @property
    def _notes(self) -> tuple[str, ...]:
        if self.session is None:
            return ("nothing is fitted: searched by words alone",)
        few = f"fewer than {FEW} headings to learn from: refusal by words"
        return (few,) if self.gates is None else ()

    def ask(
        self, question: str, *, model: Model | None = None, history: tuple[str, ...] = (),
        heard: Callable[[Support], Any] | None = None, read: Reads | None = None,
        selector: str = "",
    ) -> Answer:  # fmt: skip
        """Answer from the documents, or refuse and say why.

        Parameters
        ----------
        model : what writes; without one, sentences are quoted.
        history : earlier questions. Where this one is refused, or no passage holds half of its
            words, it is searched together with the last; then half of its own words must stand in
            the best passage.
        heard : told of each written sentence when it is there.
        read : gives a question's vector in the joint frame; the session does where it is absent.
        selector : of the catalogue, chooses the evidence; empty for the best by the search.

        Raises
        ------
        ConjoinError : no question, or the model cannot be reached or answers with garbage.
        """
        question = " ".join(question.split())
        if not question:
            raise ConjoinError("question", "is empty", "ask something")
        searched, found = question, self._looked(question, read)
        if history and (found.cause or float(found.covered.max()) < HALF):
            searched = f"{history[-1]} {question}"
            joined = self._looked(searched, read)
            best = self.passages[int(np.argmax(joined.total))]
            own = self.words.share(question, " ".join((*best.path, best.text)))
            cause = joined.cause if own >= HALF else found.cause or "near"
            found = replace(joined, cause=cause)
        order = self._chosen(selector, searched, found.total, history, read)
        near = tuple(replace(self.passages[at], score=float(found.total[at])) for at in order)
        notes, cause = self._notes, found.cause
        if cause:
            return Answer(question, cause, (), near, notes=notes)
        quoted = quotes(searched, near, self.words)
        against = disagreeing(quoted)
        if not quoted or against:
            cause = "conflict" if against else "near"
            return Answer(question, cause, against or (), near, notes=notes)
        if model is None:
            return Answer(question, "", tuple(quoted), near, notes=notes)
        said, prompt = written(model, question, near, history, heard)
        if not any(one.stands for one in said):
            return Answer(question, "near", (), near, said, model.name, prompt, notes)
        return Answer(question, "", tuple(quoted), near, said, model.name, prompt, notes)


@dataclass(frozen=True, eq=False)
class _List:
    """All pieces for one question: scores, shares of the question covered, why to refuse."""

    total: np.ndarray
    covered: np.ndarray
    cause: str


def _lost(ws: Workspace) -> list[str]:
    names = set(ws.items.names)
    return [name for name in _COLUMNS if name not in names]


def _unit(vectors: Any) -> np.ndarray:
    held = np.asarray(vectors, np.float32)
    return held / np.maximum(np.linalg.norm(held, axis=1, keepdims=True), 1e-9)


def _some(value: Any) -> list[Any]:
    return [] if value is None else list(value)
