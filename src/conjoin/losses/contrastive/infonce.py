"""Pick the partner among the batch: the contrastive loss of CLIP and its many relatives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.blockwise import Tiling, contrast
from conjoin.losses.contrastive.softmax import Keys, alike, by_rows, hard
from conjoin.losses.similarity import KINDS, Score, Side, scorer, side, with_tokens
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch

#: Scores of single tokens held at a time (64 MB of float32).
HELD = 2**24


@dataclass(frozen=True)
class InfoNCE(Addable):
    """Cross-entropy of naming each line's partner by similarity over temperature.

    For views a, b and the n lines where both are present,
    ``loss = −(1/n) Σᵢ log( exp(s(aᵢ, bᵢ)/τ) / Σⱼ exp(s(aᵢ, bⱼ)/τ) )``, averaged with the same
    from b to a where ``symmetric`` (otherwise the earlier view asks and the later answers), and
    over all pairs of views that share a line. Lines count by ``batch.weights`` as anchors; every
    line of weight above 0 is a full negative of the others. Lines whose ``ids`` agree in either
    view show the same thing: they are no negatives of each other, nor are lines that
    ``batch.barred`` keeps apart.

    The similarity s is ``cosine``; ``lorentz``, the negative distance in hyperbolic space, where
    outputs are space components of points and ``out["curvature"]`` is c > 0 (1 without it); or
    ``maxsim``, the mean over the asker's tokens of the best cosine with a token of the answer,
    where outputs are ``[b, t, dim]`` and ``batch.masks`` says which tokens there are.

    Parameters
    ----------
    temperature : τ at the start, above 0; exact down to 0.001 and below.
    learn_temperature : train it, as ``log(1/τ)`` between 0 and ``log 100`` (or the start, where
        that is beyond).
    symmetric : both directions.
    similarity : s.
    block : rows of logits held at a time; memory is ``lines · block``. Of token sets the scores of
        single tokens held are bounded instead.
    half : multiply in bfloat16 (about half the time, gradients good to a percent); cosine only.
    smoothing : ε of label smoothing; cosine only. The target is ``1 − ε`` on the partner plus ``ε``
        spread evenly over the partner and its negatives, which adds
        ``ε (s(aᵢ, bᵢ) − meanⱼ s(aᵢ, bⱼ)) / τ`` to line i of either direction.

    References
    ----------
    van den Oord et al. 2018 (oord2018cpc); symmetric as in Radford et al. 2021 (radford2021clip);
    ``maxsim`` as in Yao et al. 2022 (yao2022filip), ``lorentz`` as in Desai et al. 2023
    (desai2023meru). Label smoothing as in Szegedy et al. 2016 (szegedy2016smoothing), used in this
    loss by Jia et al. 2021 (jia2021align).
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    symmetric: bool = True
    similarity: Annotated[str, Choice(KINDS)] = "cosine"
    block: int = 1024
    half: bool = False
    smoothing: Annotated[float, Search(0.0, 0.5)] = 0.0
    neutral: ClassVar[Mapping[str, Any]] = {"smoothing": 0.0}
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, the logarithm of the inverse temperature, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over the pairs of views that share a line; zero where none do.

        Raises
        ------
        ConjoinError : smoothing of another similarity than cosine.
        """
        if self.smoothing and self.similarity != "cosine":
            raise ConjoinError(
                "infonce.smoothing", f"with similarity {self.similarity}", "take it of cosine"
            )
        losses = []
        for a, b, lines in pairs_present(out, batch):
            lines = lines[(with_tokens(a, batch) & with_tokens(b, batch))[lines]]
            if not len(lines):
                continue
            u, v = side(a, lines, out, batch), side(b, lines, out, batch)
            scale = inverse(self.temperature, params, u.rows)
            keys = Keys.of(batch, a, b, lines)
            trust = batch.weights[lines].to(u.rows.dtype)
            if self.similarity == "cosine":
                losses.append(self._dense(u.rows, v.rows, scale, trust, keys))
            else:
                score = scorer(self.similarity, out)
                losses.append(self._scored(score, u, v, scale, trust, keys))
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _dense(self, u: Any, v: Any, scale: Any, trust: Any, keys: Keys) -> Any:
        """By the closed form of the gradient."""
        unit = torch.nn.functional.normalize
        repeats = keys.matter
        tiling = Tiling(self.block, self.symmetric, self.half)
        u, v = unit(u, dim=1), unit(v, dim=1)
        loss = contrast(u, v, scale, trust, keys if repeats else None, tiling)
        if not self.smoothing:
            return loss
        share = trust / trust.sum()
        apart = self._smoothed(u, v, keys if repeats else None)
        if self.symmetric:
            apart = (apart + self._smoothed(v, u, keys if repeats else None)) / 2
        return loss + self.smoothing * scale * (share * apart).sum()

    def _smoothed(self, ask: Any, answer: Any, keys: Keys | None) -> Any:
        """Each line's own cosine less the mean over itself and its negatives."""
        own = (ask * answer).sum(1)
        if keys is None:
            return own - ask @ answer.mean(0)

        def means(lines: slice) -> Any:
            kept = ~alike(keys, lines)
            kept.diagonal(offset=lines.start).fill_(True)
            cosines = (ask[lines] @ answer.T).masked_fill(~kept, 0.0)
            return cosines.sum(1) / kept.sum(1)

        return own - by_rows(means, len(ask), self.block)

    def _scored(self, score: Score, u: Side, v: Side, scale: Any, trust: Any, keys: Keys) -> Any:
        cells = u.cells() * v.cells()
        # Token sets score t · t′ cells a pair; slices of one line would cost more than they save.
        block = self.block if cells == 1 else max(1, HELD // (len(u.rows) * cells))
        share = trust / trust.sum()
        loss = (share * hard(lambda lines: scale * score(u.take(lines), v), keys, block)).sum()
        if not self.symmetric:
            return loss
        back = hard(lambda lines: scale * score(v.take(lines), u), keys, block)
        return (loss + (share * back).sum()) / 2
