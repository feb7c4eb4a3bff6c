"""A tiny sentence encoder with random weights, and a workspace of texts it can learn from."""

from pathlib import Path

import numpy as np

WORDS = (
    "red", "green", "blue", "cat", "dog", "fish", "runs", "sits", "swims", "big", "small", "old",
    "new", "house", "tree", "road", "car", "boat", "one", "two", "der", "die", "rot",
)  # fmt: skip


def saved(folder: Path, *, seed: int = 0, layers: int = 2) -> Path:
    """A BERT of two layers and 32 dimensions as a sentence-transformers folder."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as parts

    raw = folder / "raw"
    raw.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (raw / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizer(str(raw / "vocab.txt")).save_pretrained(str(raw))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=layers,
            num_attention_heads=2, intermediate_size=48, max_position_embeddings=32,
        )  # fmt: skip
        transformers.BertModel(config, add_pooling_layer=False).save_pretrained(str(raw))
    inner = parts.Transformer(str(raw))
    whole = SentenceTransformer(modules=[inner, parts.Pooling(32), parts.Normalize()], device="cpu")
    whole.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def sentences(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of three words in any order, and whether ``cat`` comes before ``dog``."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        words = ["cat", "dog", *rng.choice(WORDS[6:20], 3)]
        words = [words[i] for i in rng.permutation(5)]
        texts.append(" ".join(words))
        labels.append("cat" if words.index("cat") < words.index("dog") else "dog")
    return texts, np.array(labels)


def workspace(folder: Path, model: Path, count: int = 120) -> Path:
    """A workspace of such texts, their classes and vectors of a second modality."""
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True)
    texts, labels = sentences(count)
    rng = np.random.default_rng(1)
    turn = rng.normal(size=(len(WORDS), 12))
    bags = np.array([[t.split().count(w) for w in WORDS] for t in texts], float)
    vectors = (bags @ turn + 0.1 * rng.normal(size=(count, 12))).astype(np.float32)
    ids = [f"t{i:03d}" for i in range(count)]
    table = {"id": ids, "words": texts, "order": labels.tolist(), "vector": vectors.tolist(),
             "one": ["same"] * count, "number": rng.random(count).tolist()}  # fmt: skip
    parquet.write_table(pa.table(table), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(
        '[items]\ntable = "items.parquet"\nid = "id"\n'
        f'[modalities.text]\ncolumn = "words"\nencoder = "st:{model}"\n'
        '[modalities.sound]\ncolumn = "vector"\nencoder = "builtin:vector"\n'
    )
    return folder
