"""Words of questions and passages: BM25 in memory, and how much of a question a text covers."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

_WORD = re.compile(r"[^\W_]+(?:[-.][^\W_]+)*", re.UNICODE)
#: Words that ask and join, and name nothing; English alone, other languages go by rarity.
STOP = frozenset([
    "a", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in",
    "into", "is", "it", "its", "me", "my", "of", "on", "one", "or", "our", "please", "s", "shall",
    "should", "so", "some", "such", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "those", "to", "too", "us", "was", "we", "were", "what", "when",
    "where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    "about", "many", "much", "often",
])  # fmt: skip
#: Words that turn a sentence round.
NEGATIONS = frozenset([
    "not", "no", "never", "none", "nor", "cannot", "without", "neither", "nothing", "don't",
    "doesn't", "isn't", "aren't", "won't", "can't", "mustn't", "shouldn't", "wasn't", "weren't",
    "didn't", "couldn't", "wouldn't",
])  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?![\w])")


@lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """A word without the endings of English plurals and verbs, so that both sides agree.

    >>> [stem(word) for word in ("files", "plotting", "plotted", "axes", "class")]
    ['file', 'plot', 'plot', 'axe', 'class']
    """
    if len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
    elif len(word) > 4 and word.endswith("ed"):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz" else word


def words(text: str) -> list[str]:
    """Content words in lower case, stemmed, in order."""
    found = (word.casefold() for word in _WORD.findall(text))
    return [stem(word) for word in found if word not in STOP]


def numbers(text: str) -> set[str]:
    """Numbers as they are written, without separators of thousands.

    >>> sorted(numbers("1,200 items at 3.50 each, x2"))
    ['1200', '3.50']
    """
    return {found.replace(",", "").lstrip("+") for found in _NUMBER.findall(text)}


def negations(text: str) -> Counter[str]:
    """Words of :data:`NEGATIONS`, apostrophes made equal, each contraction as ``not``."""
    said = re.findall(r"[a-z]+(?:'t)?", text.replace("’", "'").casefold())
    return Counter("not" if word.endswith(("'t", "cannot")) else word
                   for word in said if word in NEGATIONS)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Words:
    """Texts by their words.

    ``score(q, d) = Σ_t idf(t) f (k + 1) / (f + k (1 − b + b |d| / mean |d|))`` over the words of
    the question, k = 1.2 and b = 0.75, ``idf(t) = log(1 + (N − n_t + ½) / (n_t + ½))``.

    References
    ----------
    Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """

    vocabulary: Mapping[str, int]
    idf: np.ndarray
    weights: sparse.csr_matrix
    present: sparse.csr_matrix

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Words":
        """Index texts; one of no words scores 0."""
        vocabulary: dict[str, int] = {}
        rows, columns, counts, sizes = [], [], [], []
        for row, text in enumerate(texts):
            found = Counter(words(text))
            sizes.append(sum(found.values()))
            for word, count in found.items():
                rows.append(row)
                columns.append(vocabulary.setdefault(word, len(vocabulary)))
                counts.append(float(count))
        shape = (len(sizes), max(1, len(vocabulary)))
        often = np.bincount(np.array(columns, int), minlength=shape[1])
        idf = np.log1p((len(sizes) - often + 0.5) / (often + 0.5))
        at, f = np.array(rows, int), np.array(counts)
        size = np.array(sizes, float)
        norm = 1.2 * (0.25 + 0.75 * size / max(1.0, size.mean() if len(size) else 1.0))
        value = idf[np.array(columns, int)] * f * 2.2 / (f + norm[at]) if len(f) else f
        weights = sparse.csr_matrix((value, (at, np.array(columns, int))), shape=shape)
        present = sparse.csr_matrix((np.ones(len(f)), (at, np.array(columns, int))), shape=shape)
        return cls(vocabulary, idf, weights, present)

    def rarity(self, word: str) -> float:
        """Idf of a word; of an unknown one as if it stood in no text."""
        at = self.vocabulary.get(word)
        unseen = float(np.log1p((self.weights.shape[0] + 0.5) / 0.5))
        return unseen if at is None else float(self.idf[at])

    def _vector(self, question: str) -> np.ndarray:
        vector = np.zeros(self.weights.shape[1])
        for word in set(words(question)):
            if word in self.vocabulary:
                vector[self.vocabulary[word]] = 1.0
        return vector

    def scores(self, question: str) -> np.ndarray:
        """BM25 of each text, ``[n]``."""
        return np.asarray(self.weights @ self._vector(question))

    def covered(self, question: str) -> np.ndarray:
        """Share of the question, words weighed by rarity, that stands in each text, ``[n]``."""
        whole = sum(self.rarity(word) for word in set(words(question)))
        if not whole:
            return np.zeros(self.weights.shape[0])
        return np.asarray(self.present @ (self._vector(question) * self.idf)) / whole

    def share(self, question: str, text: str) -> float:
        """The same of one text that need not be indexed."""
        asked = set(words(question))
        whole = sum(self.rarity(word) for word in asked)
        return sum(map(self.rarity, asked & set(words(text)))) / whole if whole else 0.0


def mixed(lists: Sequence[np.ndarray]) -> np.ndarray:
    """Scores of several lists, each brought to [0, 1] by its smallest and largest, added up."""
    total = np.zeros(len(lists[0]))
    for one in lists:
        low, high = float(one.min()), float(one.max())
        total += (one - low) / (high - low) if high > low else 0.0
    return total
