"""Slow restatements of what is left out of an encoder, and what makes up for it."""

import json

import numpy as np
import pytest

import tiny_text
from conjoin.encoders.builtin.efficientnet import GRID, _grid
from conjoin.models.compression.layers import restitution
from conjoin.models.compression.tokens import TokenTable, Vocabulary, trimmed
from conjoin.models.tuning.text_model import TextModel


def test_units_that_weigh_most_stay_and_make_up_for_the_rest():
    rng = np.random.default_rng(0)
    a, v = rng.normal(size=(200, 7)) * np.arange(1, 8), rng.normal(size=(3, 7))
    a[:, 0] = a[:, 6] + 0.01 * rng.normal(size=200)
    worth = [np.linalg.norm(v[:, j]) * np.sqrt((a[:, j] ** 2).sum()) for j in range(7)]
    best = sorted(sorted(range(7), key=lambda j: -worth[j])[:4])
    at, weight = restitution(v, a.T @ a, 4, 1e-3)
    assert at.tolist() == best
    # Least squares of the whole block's output on the kept units, with rows that shrink.
    kept = a[:, best]
    shrink = 1e-3 * (kept**2).sum() / 4
    x = np.vstack([kept, np.sqrt(shrink) * np.eye(4)])
    y = np.vstack([a @ v.T, np.zeros((4, 3))])
    slow = np.linalg.lstsq(x, y, rcond=None)[0].T
    np.testing.assert_allclose(weight, slow, atol=1e-8)
    plain = np.abs(a @ v.T - kept @ v[:, best].T).mean()
    assert np.abs(a @ v.T - kept @ weight.T).mean() < plain


def test_silent_units_are_left_as_they_are():
    at, weight = restitution(np.eye(3), np.zeros((3, 3)), 2, 1e-3)
    np.testing.assert_array_equal(weight, np.eye(3)[:, at])


def test_weights_of_tokens_by_rank():
    total = sum(1 / r for r in range(1, 51))
    for rank, weight in enumerate(TokenTable(a=0.01).weights(50), 1):
        assert weight == pytest.approx(0.01 / (0.01 + 1 / rank / total))


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram"])
def test_a_trimmed_tokenizer_reads_kept_tokens_as_before(kind):
    from tokenizers import Tokenizer

    if kind == "WordPiece":
        vocabulary = {"[UNK]": 0, "[SEP]": 1, "a": 2, "cat": 3, "##s": 4, "dog": 5}
        model = {"type": kind, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                 "max_input_chars_per_word": 100, "vocab": vocabulary}  # fmt: skip
        kept = ["[UNK]", "[SEP]", "a", "cat", "##s"]
    else:
        words = [["[SEP]", 0.0], ["[UNK]", 0.0], ["cat", -1.0], ["dog", -1.5], ["s", -2.0]]
        model = {"type": kind, "unk_id": 1, "vocab": words, "byte_fallback": False}
        kept = ["[SEP]", "[UNK]", "cat", "s"]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    ends = 1 if kind == "WordPiece" else 0
    spec = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [{"id": ends, "content": "[SEP]", "special": True, **special}],
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": None, "model": model,
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", ends], "cls": ["[SEP]", ends],
        },
    }  # fmt: skip
    before, after = (Tokenizer.from_str(json.dumps(s)) for s in (spec, trimmed(spec, kept)))
    assert after.encode("cats").tokens == before.encode("cats").tokens
    assert after.encode("cats").ids == [kept.index(t) for t in before.encode("cats").tokens]
    assert "dog" not in after.get_vocab()


def test_only_what_the_sample_needs_stays(tmp_path):
    original = tiny_text.saved(tmp_path / "tiny")
    texts = ["red cat runs", "blue dog sits"]
    made = Vocabulary().write(f"st:{original}", texts, tmp_path / "made")
    model = TextModel.open(made.partition("?")[0])
    words = {t for t in model.pipeline.tokenizer.get_vocab() if not t.startswith("[")}
    assert words == {"red", "cat", "runs", "blue", "dog", "sits"}
    assert model.transformer.get_input_embeddings().num_embeddings == len(words) + 5
    np.testing.assert_allclose(
        model.encode(texts), TextModel.open(f"st:{original}").encode(texts), atol=1e-6
    )


@pytest.mark.parametrize("places", [4, 5, 7])
def test_the_grid_of_a_map_of_any_size(places):
    x = np.random.default_rng(0).normal(size=(2, 3, places, places)).astype(np.float32)
    found = _grid(x).reshape(2, GRID, GRID, 3)
    for i in range(GRID):
        for j in range(GRID):
            rows, columns = (
                range(places * k // GRID, -(-places * (k + 1) // GRID)) for k in (i, j)
            )
            slow = np.mean([x[:, :, u, v] for u in rows for v in columns], axis=0)
            np.testing.assert_allclose(found[:, i, j], slow, atol=1e-5)
