"""From what a view holds to tokens of the body's width."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.losses import Param
from conjoin.models.pretraining.blocks import Params, linear, linear_init, norm, norm_init
from conjoin.models.pretraining.steps import Step
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Stem:
    """Embeds the cells of one view: a table of ids, or a linear map of float tokens.

    ``x = E[id] + p_t`` of ids, ``x = W (f − m)/s + b + p_t`` of floats; where ``mixing`` is above
    0 a depthwise convolution over as many tokens is added, ``x + gelu(conv x)``. A hidden token is
    replaced by a trained vector before positions are added, so nothing of it is left.

    Parameters
    ----------
    view : its name.
    wide : numbers of a float token, or 0 of ids.
    vocabulary : ids there are, 0 of floats.
    dim : the body's width.
    longest : positions; longer sets are cut by whoever makes batches.
    mixing : tokens a convolution spans, odd; 0 for none.
    shift, scale : mean and deviation of float tokens over the training items.
    bands : of spectrogram tokens, the numbers a frame has: in training some bands and stretches
        are set to 0 (SpecAugment).
    types : kinds of segment there are names for; every token is of the first (as in BERT).
    final : whether a layer norm ends the stem (as in BERT).
    """

    view: str
    wide: int
    vocabulary: int
    dim: int
    longest: int = 512
    mixing: int = 0
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None
    bands: int = 0
    types: int = 0
    final: bool = False
    eps: float = 1e-5

    def init(self, seed: int) -> dict[str, Param]:
        """Its parameters."""
        rng = np.random.default_rng([seed, stable_hash(f"stem {self.view}")])
        made: dict[str, Param] = {}
        if self.vocabulary:
            table = rng.standard_normal((self.vocabulary, self.dim)) / np.sqrt(self.dim)
            made["table"] = Param(table, decay=True)
        else:
            made |= linear_init(rng, "proj", self.wide, self.dim)
        made["hidden"] = Param(rng.standard_normal(self.dim) / np.sqrt(self.dim))
        position = rng.standard_normal((self.longest, self.dim)) * (0.1 / np.sqrt(self.dim))
        made["position"] = Param(position)
        if self.types:
            made["type"] = Param(rng.standard_normal((self.types, self.dim)) * 0.02)
        if self.mixing:
            kernel = rng.standard_normal((self.dim, 1, self.mixing)) / np.sqrt(self.mixing)
            made["conv/weight"] = Param(kernel, decay=True)
            made["conv/bias"] = Param(np.zeros(self.dim))
        if self.final:
            made |= norm_init("norm", self.dim)
        return made

    def __call__(self, raw: Any, keep: Any, params: Params, step: Step, hide: Any = None) -> Any:
        """Tokens ``[b, t, dim]`` of ids ``[b, t]`` or floats ``[b, t, wide]``.

        Parameters
        ----------
        keep : ``[b, t]`` tokens that exist; what the others hold never matters.
        hide : ``[b, t]`` tokens not to be shown.
        """
        import torch
        import torch.nn.functional as F

        x = self._embedded(raw, keep, params, step)
        if hide is not None:
            x = torch.where(hide[..., None], params["hidden"], x)
        if self.types:
            x = x + params["type"][0]
        x = x + params["position"][: x.shape[1]]
        if self.mixing:
            shown = (x * keep[..., None]).transpose(1, 2)
            mixed = F.conv1d(
                shown, params["conv/weight"], params["conv/bias"],
                padding=self.mixing // 2, groups=self.dim,
            )  # fmt: skip
            x = x + F.gelu(mixed).transpose(1, 2)
        if self.final:
            x = norm(x, params, "norm", self.eps)
        return step.drop(x, f"stem {self.view}") * keep[..., None]

    def _embedded(self, raw: Any, keep: Any, params: Params, step: Step) -> Any:
        import torch
        import torch.nn.functional as F

        if self.vocabulary:
            return F.embedding(torch.where(keep, raw, 0), params["table"])
        x = self.standard(raw) * keep[..., None]
        if self.bands and step.training:
            x = spec_augment(x, self.bands, step)
        return linear(x, params, "proj")

    def standard(self, raw: Any) -> Any:
        """Float tokens with mean 0 and deviation 1 over the training items."""
        import torch

        if self.shift is None or self.scale is None:
            return raw
        return (raw - torch.as_tensor(self.shift).to(raw)) / torch.as_tensor(self.scale).to(raw)


def spec_augment(x: Any, bands: int, step: Step) -> Any:
    """Two stretches of bands and two of time set to the mean (0), another pair for each row.

    Each spans up to a sixth of the bands, and up to an eighth of the time.

    Source: Park et al. 2019 (SpecAugment).
    """
    import torch

    b, t, wide = x.shape
    frames = x.reshape(b, t, wide // bands, bands)
    draw = step.generator("spec augment")

    def stretch(length: int, most: int) -> Any:
        size = torch.randint(0, most + 1, (b, 1), generator=draw)
        start = (torch.rand(b, 1, generator=draw) * (length - size + 1)).long()
        at = torch.arange(length)
        return (at >= start) & (at < start + size)

    for _ in range(2):
        frames = frames.masked_fill(stretch(bands, bands // 6)[:, None, None, :], 0.0)
        frames = frames.masked_fill(stretch(t, t // 8)[:, :, None, None], 0.0)
    return frames.reshape(b, t, wide)
