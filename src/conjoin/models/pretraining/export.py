"""Models in other programs' shapes, and theirs in ours: tables of names, weights unchanged."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest, optional
from conjoin.models.pretraining.recipe import Fitted, Recipe
from conjoin.models.pretraining.saved import MODEL, Saved, load, save
from conjoin.storage.files import atomic

#: Formats a model can be written in.
FORMATS = ("hf", "onnx", "safetensors")
#: Least cosine of a vector read back from an export with the one that was exported.
AGREES = 0.9999

#: Our name and BERT's, of what stands once and of what each layer has.
STEM = {
    "table": "embeddings.word_embeddings.weight",
    "position": "embeddings.position_embeddings.weight",
    "type": "embeddings.token_type_embeddings.weight",
    "norm/weight": "embeddings.LayerNorm.weight",
    "norm/bias": "embeddings.LayerNorm.bias",
}
LAYER = {
    "attn/query": "attention.self.query", "attn/key": "attention.self.key",
    "attn/value": "attention.self.value", "attn/out": "attention.output.dense",
    "attn/norm": "attention.output.LayerNorm", "ffn/up": "intermediate.dense",
    "ffn/down": "output.dense", "ffn/norm": "output.LayerNorm",
}  # fmt: skip


def names(view: str, layers: int) -> dict[str, str]:
    """By our names of a view's tensors, those of a BERT encoder.

    >>> names("text", 1)["body/tower/text/0/ffn/up/bias"]
    'encoder.layer.0.intermediate.dense.bias'
    """
    found = {f"stem/{view}/{ours}": theirs for ours, theirs in STEM.items()}
    for at in range(layers):
        for ours, theirs in LAYER.items():
            for part in ("weight", "bias"):
                own = f"body/tower/{view}/{at}/{ours}/{part}"
                found[own] = f"encoder.layer.{at}.{theirs}.{part}"
    return found


def to_bert(params: Mapping[str, np.ndarray], view: str, layers: int) -> dict[str, np.ndarray]:
    """A view's tensors under BERT's names, as they are.

    Raises
    ------
    ConjoinError : the view has no tensor that BERT has: it is of another shape.
    """
    table = names(view, layers)
    missing = [ours for ours in table if ours not in params]
    if missing:
        raise ConjoinError(
            f"view {view}", f"is not of BERT's shape (no {missing[0]})",
            "export to safetensors or onnx; hf takes recipes whose body is dual with norm = post",
        )  # fmt: skip
    return {theirs: params[ours] for ours, theirs in table.items()}


def from_bert(tensors: Mapping[str, np.ndarray], view: str, layers: int) -> dict[str, np.ndarray]:
    """BERT's tensors under our names, as they are; the mask's embedding hides what is hidden.

    Raises
    ------
    ConjoinError : one is missing: the file is no BERT encoder.
    """
    bare = {key.removeprefix("bert."): value for key, value in tensors.items()}
    found = {}
    for ours, theirs in names(view, layers).items():
        if theirs not in bare:
            raise ConjoinError("--continue-from", f"has no tensor {theirs}", "give a BERT encoder")
        found[ours] = np.asarray(bare[theirs], dtype=np.float32)
    return found


@dataclass(frozen=True, eq=False)
class Known:
    """An encoder of another library, as settings and tensors of ours.

    Parameters
    ----------
    recipe : with its body, stem and tokenizer.
    tensors : under our names.
    """

    recipe: Recipe
    tensors: Mapping[str, np.ndarray]


def begin_from(folder: Path, made: Recipe) -> Known:
    """A recipe that goes on from a BERT encoder in a folder as transformers writes it.

    The recipe's only view of text takes the folder's tokenizer; the body takes its sizes.

    Raises
    ------
    ConjoinError : no such folder, another shape than BERT's, or not one view of text.
    """
    config, tensors = _read(folder)
    kind = str(config.get("model_type"))
    if kind != "bert":
        raise ConjoinError(f"--continue-from {folder}", f"is of type {kind}", "give a BERT encoder")
    if config.get("hidden_act", "gelu") != "gelu":
        raise ConjoinError(f"--continue-from {folder}", f"uses {config['hidden_act']}", "give gelu")
    views = [v for v, t in made.views.items() if str(t.get("cells", "")) != "frozen"]
    if len(made.views) != 1 or len(views) != 1:
        raise ConjoinError(
            "--continue-from", f"a recipe of views {', '.join(made.views)}",
            "take a recipe of one view of text, such as bert",
        )  # fmt: skip
    view, dim, layers = views[0], int(config["hidden_size"]), int(config["num_hidden_layers"])
    body = {
        "kind": "dual", "norm": "post", "dim": dim, "heads": int(config["num_attention_heads"]),
        "hidden": config["intermediate_size"] / dim, "towers": layers,
        "eps": float(config.get("layer_norm_eps", 1e-12)), "dropout": 0.1,
    }  # fmt: skip
    table = {**made.views[view], "cells": f"tokenizer:{folder}", "types": config["type_vocab_size"]}
    recipe = replace(
        made, body=body, views={view: table}, longest=int(config["max_position_embeddings"])
    )
    found = from_bert(tensors, view, layers)
    mask = _mask_id(folder)
    if mask is not None:
        found[f"stem/{view}/hidden"] = found[f"stem/{view}/table"][mask]
    return Known(recipe, found)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and tensors of a folder that transformers wrote."""
    from safetensors.numpy import load_file

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config, load_file(str(folder / "model.safetensors"))
    except (OSError, ValueError) as error:
        raise ConjoinError(
            f"--continue-from {folder}", f"cannot be read ({type(error).__name__})",
            "give a folder with config.json and model.safetensors",
        ) from None  # fmt: skip


def _mask_id(folder: Path) -> int | None:
    library = optional("tokenizers", "text")
    found = library.Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("[MASK]")
    return None if found is None else int(found)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    format, folder : where and how.
    uri : by which it opens again.
    cosine : the least between vectors of the model and of the export read back.
    rows : how many were compared.
    """

    format: str
    folder: Path
    uri: str
    cosine: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "folder": str(self.folder)}


def export(saved: Saved, view: str, to: str, folder: Path) -> Exported:
    """Write a view of a model, read it back, and compare vectors of drawn cells.

    Raises
    ------
    ConjoinError : the format is unknown, the model is not of its shape, or what was read back
        differs (what was written then is of no use and is said so).
    """
    if to not in FORMATS:
        raise ConjoinError("--to", repr(to), nearest(to, FORMATS))
    saved.view(view)
    folder.mkdir(parents=True, exist_ok=True)
    raw, keep = drawn_cells(saved, view)
    wanted = _pooled(states_of(saved, view, raw, keep), keep)
    if to == "safetensors":
        uri = _own(saved, view, folder)

        again = load(folder)
        found = _pooled(states_of(again, view, raw, keep), keep)
    elif to == "onnx":
        uri, found = _onnx(saved, view, folder, raw, keep)
    else:
        uri, found = _hf(saved, view, folder, raw, keep)
    cosine = least_cosine(wanted, found)
    if cosine < AGREES:
        raise ConjoinError(
            f"export to {to}", f"vectors read back differ: cosine {cosine:.6f}",
            "do not use what was written; report it with conjoin info --json",
        )  # fmt: skip
    return Exported(to, folder, uri, cosine, len(wanted))


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The least cosine of rows that belong together.

    >>> least_cosine(np.eye(2), np.array([[2.0, 0.0], [1.0, 1.0]])).__round__(4)
    0.7071
    """
    x, y = (np.asarray(z, np.float64) for z in (a, b))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(((x * y).sum(1) / np.maximum(lengths, 1e-30)).min(initial=1.0))


def drawn_cells(saved: Saved, view: str, rows: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Random token sets of several lengths, and what exists of them."""
    rng = np.random.default_rng(0)
    stem = saved.fitted.model.stems[view]
    most = min(saved.longest, 24)
    keep = np.arange(most) < rng.integers(1, most + 1, rows)[:, None]
    keep[0] = True
    if stem.vocabulary:
        return np.where(keep, rng.integers(0, stem.vocabulary, keep.shape), 0), keep
    floats = rng.standard_normal((*keep.shape, stem.wide)).astype(np.float32)
    if stem.scale is not None and stem.shift is not None:
        floats = floats * stem.scale + stem.shift
    return (floats * keep[..., None]).astype(np.float32), keep


def states_of(saved: Saved, view: str, raw: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """A view's states of padded cells."""
    import torch

    params = {k: torch.from_numpy(np.array(v)) for k, v in saved.fitted.params.items()}
    with torch.no_grad():
        x = saved.fitted.model.encode(view, torch.from_numpy(raw), torch.from_numpy(keep), params)
    return np.asarray(x.numpy())


def _pooled(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.asarray((x * keep[..., None]).sum(1) / keep.sum(1, keepdims=True))


def _own(saved: Saved, view: str, folder: Path) -> str:
    """One view alone, in the file that ``pretrained:`` opens."""
    starts = (f"stem/{view}/", "body/")
    others = [f"/{v}/" for v in saved.specs if v != view]
    params = {
        k: v for k, v in saved.fitted.params.items()
        if k.startswith(starts) and not any(one in f"/{k}/" for one in others)
    }  # fmt: skip
    model = saved.fitted.model
    alone = replace(model, stems={view: model.stems[view]}, targets=())
    kept = replace(saved, fitted=Fitted(alone, params), specs={view: saved.specs[view]})
    save(kept, folder / MODEL)
    return f"pretrained:{folder}"


def _onnx(
    saved: Saved, view: str, folder: Path, raw: np.ndarray, keep: np.ndarray
) -> tuple[str, np.ndarray]:
    """Cells and what exists of them → the mean of the states, as an ONNX graph."""
    torch = optional("torch", "train")
    optional("onnxscript", "onnx")
    runtime = optional("onnxruntime", "onnx")
    from conjoin.encoders.pretrained.onnx_export import write_graph

    model = saved.fitted.model
    params = {k: torch.from_numpy(np.array(v)) for k, v in saved.fitted.params.items()}

    class Encoder(torch.nn.Module):  # type: ignore[name-defined]
        """The view's tower and the mean of its states."""

        def __init__(self) -> None:
            super().__init__()
            for name, value in params.items():
                self.register_buffer(name.replace("/", "__").replace(".", "_dot_"), value)

        def forward(self, cells: Any, exists: Any) -> Any:
            held = {
                name: getattr(self, name.replace("/", "__").replace(".", "_dot_"))
                for name in params
            }
            x = model.encode(view, cells, exists, held)
            kept = exists[..., None].to(x)
            return (x * kept).sum(1) / kept.sum(1)

    path = folder / "model.onnx"
    axes: dict[str, list[str | None]] = {
        "cells": ["rows", "tokens", *([None] if raw.ndim == 3 else [])],
        "exists": ["rows", "tokens"],
    }
    write_graph(path, Encoder(), (torch.from_numpy(raw), torch.from_numpy(keep)), axes)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"cells": raw, "exists": keep})[0]
    return f"onnx:{path}", np.asarray(found)


def _hf(
    saved: Saved, view: str, folder: Path, raw: np.ndarray, keep: np.ndarray
) -> tuple[str, np.ndarray]:
    """A folder that transformers opens as BertModel, without code of its own."""
    torch = optional("torch", "train")
    library = optional("transformers", "text")
    from safetensors.numpy import save_file

    model, stem = saved.fitted.model, saved.fitted.model.stems[view]
    body = model.body
    tensors = to_bert(saved.fitted.params, view, body.towers)
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "vocab_size": stem.vocabulary, "hidden_size": body.dim, "num_hidden_layers": body.towers,
        "num_attention_heads": body.heads, "intermediate_size": body.shape.hidden,
        "max_position_embeddings": stem.longest, "type_vocab_size": stem.types,
        "layer_norm_eps": body.eps, "hidden_dropout_prob": body.dropout, "pad_token_id": 0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    _write(folder / "config.json", config)
    held = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}
    save_file(held, str(folder / "model.safetensors"), metadata={"format": "pt"})
    tokenizer = getattr(saved.cells(view), "tokenizer_json", "")
    if tokenizer:
        _write(folder / "tokenizer.json", json.loads(tokenizer))
        _write(folder / "tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]",
            "model_max_length": stem.longest,
        })  # fmt: skip
    opened = library.BertModel.from_pretrained(str(folder), add_pooling_layer=False).eval()
    with torch.no_grad():
        out = opened(input_ids=torch.from_numpy(raw), attention_mask=torch.from_numpy(keep).long())
    return f"hf:{folder}?pool=mean", _pooled(out.last_hidden_state.numpy(), keep)


def _write(path: Path, value: Any) -> None:
    with atomic(path) as file:
        file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())
