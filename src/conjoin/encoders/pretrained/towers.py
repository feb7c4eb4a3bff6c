"""The towers of ``hf:`` models: a cell's tensors, and the states a network makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.encoders.media.media import read_picture, read_sound, read_text
from conjoin.encoders.remarks import remark
from conjoin.errors import ConjoinError

KINDS = ("text", "image", "audio")

_INPUTS = {
    "input_ids": "text",
    "pixel_values": "image",
    "input_values": "audio",
    "input_features": "audio",
}


@dataclass(frozen=True, eq=False)
class States:
    """What a network gives for a batch.

    Parameters
    ----------
    last : ``[b, t, d]`` final states.
    layers : every layer's states from the embeddings on; empty unless asked for.
    mask : ``[b, t]`` True where a state is of the input and not of its padding.
    pooled : ``[b, d]`` the model's own summary, where it has one.
    """

    last: Any
    layers: tuple[Any, ...]
    mask: Any
    pooled: Any | None


def towers_of(model: Any) -> tuple[str, ...]:
    """Kinds of cell a model, or its class, reads: two for a CLIP-like model."""
    features = tuple(kind for kind in KINDS if hasattr(model, f"get_{kind}_features"))
    if len(features) > 1:
        return features
    kind = _INPUTS.get(model.main_input_name)
    return (kind,) if kind else ()


def towers_by_config(library: Any, folder: Any, where: str) -> tuple[str, ...]:
    """:func:`towers_of` of the model a folder's configuration names; no weights are read."""
    try:
        config = library.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        found = library.AutoModel._model_mapping[type(config)]
    except (OSError, ValueError, KeyError, ImportError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ConjoinError(
            where, f"cannot be read: {said[0]}", "give a folder that save_pretrained wrote"
        ) from error
    return towers_of(found[0] if isinstance(found, tuple) else found)


def depth_of(model: Any, kind: str) -> int:
    """Layers of a model's tower."""
    tower = "vision" if kind == "image" else kind
    for config in (getattr(model.config, f"{tower}_config", None), model.config):
        for name in ("num_hidden_layers", "encoder_layers", "num_layers"):
            if isinstance(getattr(config, name, None), int):
                return int(getattr(config, name))
    return len(getattr(model.config, "depths", ())) or 1


def prepare_text(tokenizer: Any, items: Sequence[str], config: Any) -> dict[str, Any]:
    """Texts → padded token ids and their mask, cut at what the model takes."""
    limit = text_limit(tokenizer, config)
    # SigLIP was trained on padding to full length, unmasked, and reads its last place.
    fixed = "siglip" in config.model_type
    return dict(
        tokenizer(
            list(items),
            padding="max_length" if fixed else True,
            truncation=limit is not None,
            max_length=limit,
            return_tensors="pt",
            return_attention_mask=not fixed,
        )
    )


def tell_cut(tokenizer: Any, text: str, limit: int | None) -> None:
    """Remark that a text has more tokens than are read."""
    # A token stands for a byte or more, but for the few that mark the ends.
    if not limit or len(text.encode()) + 8 <= limit:
        return
    if len(tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"]) > limit:
        remark(f"cut at {limit} tokens")


def text_limit(tokenizer: Any, config: Any) -> int | None:
    """Tokens a text model takes, by its tokenizer and its table of positions."""
    config = getattr(config, "text_config", config)
    places = getattr(config, "max_position_embeddings", None)
    if places is not None and any(
        name in config.model_type for name in ("roberta", "camembert", "mpnet")
    ):
        places -= 2  # these start counting positions after their padding id
    known = [n for n in (tokenizer.model_max_length, places) if n is not None and 0 < n < 10**9]
    return min(known) if known else None


def decode(kind: str, processor: Any, cell: Any, seconds: float) -> Any:
    """One cell → text, or the arrays its processor makes, so that reader threads do the work."""
    if kind == "text":
        return read_text(cell)
    if kind == "image":
        return picture(processor, read_picture(cell))
    return sound(processor, read_sound(cell, int(processor.sampling_rate), seconds))


def picture(processor: Any, image: Any) -> dict[str, np.ndarray]:
    """An RGB image → the processor's arrays, without the axis of the batch."""
    return _bare(processor(images=image, return_tensors="np"))


def sound(extractor: Any, wave: np.ndarray) -> dict[str, np.ndarray]:
    """A mono wave → the extractor's arrays, without the axis of the batch.

    Extractors that crop long sounds at random get the first part instead.
    """
    limit = getattr(extractor, "nb_max_samples", None)
    return _bare(
        extractor(
            wave[:limit],
            sampling_rate=int(extractor.sampling_rate),
            return_attention_mask=True,
            return_tensors="np",
        )
    )


def _bare(made: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[0] for name, value in made.items()}


def stack(items: Sequence[Mapping[str, np.ndarray]]) -> list[tuple[list[int], dict[str, Any]]]:
    """Decoded cells as batches of equal shapes, each with the places of its rows.

    Sounds of several lengths are never padded together: many audio networks normalise over time,
    and padding would then change the row beside it.
    """
    import torch

    groups: dict[tuple, list[int]] = {}
    for place, item in enumerate(items):
        shape = tuple((name, value.shape) for name, value in sorted(item.items()))
        groups.setdefault(shape, []).append(place)
    return [
        (
            places,
            {
                name: torch.from_numpy(np.stack([items[place][name] for place in places]))
                for name in items[places[0]]
            },
        )
        for places in groups.values()
    ]


def run(model: Any, kind: str, inputs: Mapping[str, Any], *, dual: bool, layers: bool) -> States:
    """The states of one tower for one batch."""
    tower = _tower(model, kind) if dual else model
    if getattr(tower.config, "is_encoder_decoder", False):
        tower = tower.get_encoder()
    out = tower(**_taken(tower, inputs), output_hidden_states=layers, return_dict=True)
    last = _sequence(out.last_hidden_state)
    return States(
        last,
        tuple(_sequence(state) for state in out.hidden_states) if layers else (),
        _mask(tower, inputs.get("attention_mask"), last),
        getattr(out, "pooler_output", None),
    )


def project(model: Any, kind: str, inputs: Mapping[str, Any]) -> Any:
    """``[b, d]`` of a CLIP-like model's tower in the space its towers share."""
    features = getattr(model, f"get_{kind}_features")
    out = features(**_taken(features, inputs))
    # Versions differ: the projected vectors come bare, or as the output's pooler_output.
    return out if hasattr(out, "shape") else out.pooler_output


def _tower(model: Any, kind: str) -> Any:
    for name in ("vision_model", "image_model") if kind == "image" else (f"{kind}_model",):
        if hasattr(model, name):
            return getattr(model, name)
    raise ConjoinError(
        f"hf {type(model).__name__}", f"shows no {kind} tower", "ask for output=pooled"
    )


def _taken(call: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    import inspect

    names = inspect.signature(getattr(call, "forward", call)).parameters
    return {name: value for name, value in inputs.items() if name in names}


def _sequence(state: Any) -> Any:
    """States ``[b, d, h, w]`` of a convolutional network as ``[b, h·w, d]``; others as they are."""
    return state.flatten(2).transpose(1, 2) if state.ndim == 4 else state


def _mask(tower: Any, given: Any, last: Any) -> Any:
    import torch

    rows, length = last.shape[:2]
    if given is None:
        return torch.ones(rows, length, dtype=torch.bool, device=last.device)
    if given.shape[1] == length:
        return given.bool()
    if hasattr(tower, "_get_feature_vector_attention_mask"):
        return tower._get_feature_vector_attention_mask(length, given).bool()
    # A network that strides over time: each state takes the mask of the place it stands at.
    places = torch.arange(length, device=given.device) * given.shape[1] // length
    return given[:, places].bool()
