"""Encoders of texts with a smaller vocabulary, or of nothing but their tokens' vectors."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.models.compression.layers import saved, with_map
from conjoin.models.tuning.text_model import TextModel
from conjoin.storage.files import atomic
from conjoin.transfer.linear_heads import RidgeRegressor

#: Types of tokenizer whose vocabulary is a list of whole tokens.
KINDS_OF_VOCABULARY = ("WordPiece", "Unigram")


@dataclass(frozen=True)
class Vocabulary:
    """Only the tokens that the sample needs, and the single characters: texts stay readable.

    ``V' = {t ∈ V : c_t ≥ least, or t is special, or |t| = 1}`` with c_t how often the sample holds
    token t. The rows of the token embedding that no kept token owns are left out; every other
    weight stays, so a text whose tokens are all kept has the vectors of the original.

    Parameters
    ----------
    least : times a token must occur in the sample; 0 keeps every token.

    Errors
    ------
    ConjoinError : the tokenizer is neither WordPiece nor Unigram.

    Examples
    --------
    >>> Vocabulary().kept({"[UNK]": 0, "a": 1, "cat": 2, "dog": 3}, {"cat": 4}, {"[UNK]"})
    ['[UNK]', 'a', 'cat']

    References
    ----------
    Ushio, Zhou and Camacho-Collados 2023 (ushio2023trimming).
    """

    least: Annotated[int, Search(0, 100)] = 1
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({"least": 1},)
    whole: ClassVar[Mapping[str, Any] | None] = {"least": 0}

    def kept(
        self, vocabulary: Mapping[str, int], counts: Mapping[str, int], special: set[str]
    ) -> list[str]:
        """Tokens that stay, in the order of their numbers."""
        return [
            token for token in sorted(vocabulary, key=vocabulary.__getitem__)
            if token in special or counts.get(token, 0) >= self.least
            or len(token.removeprefix("##").removeprefix("▁")) <= 1
        ]  # fmt: skip

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; opens as ``st:``."""
        import torch

        model = TextModel.open(uri)
        backend = _backend(model, uri)
        vocabulary = backend.get_vocab()
        added = {t.content for t in backend.get_added_tokens_decoder().values()}
        tokens = self.kept(vocabulary, _counted(backend, sample), added | _named(model))
        places = torch.tensor([vocabulary[token] for token in tokens])
        embedding = model.transformer.get_input_embeddings()
        new = torch.nn.Embedding(len(tokens), embedding.embedding_dim, padding_idx=None)
        with torch.no_grad():
            new.weight.copy_(embedding.weight[places])
        model.transformer.set_input_embeddings(new)
        model.transformer.config.vocab_size = len(tokens)
        made = saved(model, folder)
        for path in sorted(folder.rglob("tokenizer.json")):
            text = json.dumps(trimmed(json.loads(path.read_text()), tokens), ensure_ascii=False)
            with atomic(path) as file:
                file.write(text.encode())
        for path in sorted(folder.rglob("vocab.txt")):
            path.unlink()
        return made


@dataclass(frozen=True)
class TokenTable:
    """One vector for each token, weighted by rarity and averaged, and a ridge map to the original.

    ``x = Σ_t a/(a + p_t) E_t / |t|`` with E_t the original's vector of the token alone and p_t its
    share by Zipf's law of its rank in the vocabulary; then ``W, b`` by ridge onto the original
    vectors of the sample, at unit length. No transformer runs.

    Parameters
    ----------
    a : weight at which a token of share a counts half.
    lam : of the ridge.

    Errors
    ------
    ConjoinError : the tokenizer is neither WordPiece nor Unigram.

    Examples
    --------
    >>> weights = TokenTable(a=1e-3).weights(1000)
    >>> bool(weights[10] < weights[900] < 1)
    True

    References
    ----------
    Arora, Liang and Ma 2017 (arora2017sif); a table of a sentence encoder's own tokens: Tulkens
    and van Dongen 2024 (tulkens2024model2vec), without the ridge and with PCA in its place.
    """

    a: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-3
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 0.03
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    whole: ClassVar[Mapping[str, Any] | None] = None

    def weights(self, count: int) -> np.ndarray:
        """``[count]`` of tokens by their rank."""
        share = 1 / np.arange(1, count + 1)
        share /= share.sum()
        return np.asarray(self.a / (self.a + share))

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; opens as ``st:``."""
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer import modules as parts

        model = TextModel.open(uri)
        backend = _backend(model, uri)
        vocabulary = backend.get_vocab()
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        # A token alone, as its text would be read: its marks of place say nothing here.
        table = model.encode([t.removeprefix("##").replace("▁", "") or t for t in tokens])
        table = table * self.weights(len(tokens))[:, None].astype(np.float32)
        bare = type(backend).from_str(backend.to_str())
        bare.no_padding()
        static = parts.StaticEmbedding(bare, embedding_weights=table)
        plain = SentenceTransformer(modules=[static], device="cpu").eval()
        asked = list(sample)
        x = np.asarray(plain.encode(asked, show_progress_bar=False), np.float32)
        made = RidgeRegressor(self.lam, standardise=False).fit(x, model.encode(asked))
        weight = torch.from_numpy(np.ascontiguousarray(made.weight.T, dtype=np.float32))
        bias = torch.from_numpy(made.bias.astype(np.float32).reshape(-1))
        whole = with_map(TextModel(plain, model.base, model.name), weight, bias)
        return saved(whole, folder)


def trimmed(spec: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, Any]:
    """A ``tokenizer.json`` whose vocabulary is these tokens, numbered in this order."""
    number = {token: place for place, token in enumerate(tokens)}
    made = json.loads(json.dumps(spec))
    model = made["model"]
    if model["type"] == "WordPiece":
        model["vocab"] = number
    else:
        score = dict(map(tuple, model["vocab"]))
        model["vocab"] = [[token, score.get(token, 0.0)] for token in tokens]
        model["unk_id"] = number.get(spec["model"]["vocab"][model["unk_id"]][0], 0)
    for each in made.get("added_tokens", ()):
        each["id"] = number[each["content"]]
    if isinstance(made.get("padding"), Mapping):
        made["padding"]["pad_id"] = number.get(made["padding"].get("pad_token"), 0)
    _renumber(made.get("post_processor"), number)
    return dict(made)


def _renumber(node: Any, number: Mapping[str, int]) -> None:
    """The numbers of special tokens wherever a post-processor tells them, in place."""
    if isinstance(node, list):
        if len(node) == 2 and isinstance(node[0], str) and isinstance(node[1], int):
            node[1] = number.get(node[0], node[1])
        for each in node:
            _renumber(each, number)
    elif isinstance(node, dict):
        if isinstance(node.get("tokens"), list) and isinstance(node.get("ids"), list):
            node["ids"] = [number[token] for token in node["tokens"]]
        for each in node.values():
            _renumber(each, number)


def _backend(model: TextModel, uri: str) -> Any:
    backend = getattr(model.pipeline.tokenizer, "backend_tokenizer", None)
    kind = "slow tokenizer" if backend is None else type(backend.model).__name__
    if kind not in KINDS_OF_VOCABULARY:
        raise ConjoinError(
            uri, f"its vocabulary is that of a {kind}, not {' or '.join(KINDS_OF_VOCABULARY)}",
            "take fewer-layers or onnx-int8",
        )  # fmt: skip
    return backend


def _counted(backend: Any, sample: Sequence[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    read: Callable[[str], Any] = backend.encode
    for text in sample:
        for token in read(str(text)).tokens:
            counts[token] = counts.get(token, 0) + 1
    return counts


def _named(model: TextModel) -> set[str]:
    return set(model.pipeline.tokenizer.all_special_tokens)
