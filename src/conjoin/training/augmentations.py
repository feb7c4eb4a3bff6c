"""What is done to the source rows of a batch before they are mapped: mixing and noise.

An augmentation is a frozen dataclass called with a batch. All it draws comes from
:meth:`conjoin.spaces.Batch.draw`: the same batch gives the same result, and a new step a new one.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, runtime_checkable

import torch

from conjoin.catalogue import Search
from conjoin.spaces import Batch


@runtime_checkable
class Augmentation(Protocol):
    """A frozen dataclass that changes a batch and leaves its shape.

    At strength 0 the batch comes back as it was. Which items lines show (``ids``) stays, but for
    augmentations that make new items of them.
    """

    def __call__(self, batch: Batch) -> Batch:
        """A batch of as many lines, with other source rows."""
        ...


@dataclass(frozen=True)
class FuseMix:
    """Mix every line with another, all views alike: the mixtures are new partners.

    ``x' = λ xᵢ + (1 − λ) xⱼ`` for the source rows of every view, with one λ ~ Beta(alpha, alpha)
    a step and one partner j a line, drawn among the lines of weight above 0 on which the same
    views are present. Weights and labels mix alike, labels becoming shares of classes. Mixtures
    are items of their own: they get new ids, equal where the same two items were mixed in the
    same order.

    Parameters
    ----------
    alpha : 0 changes nothing, 1 draws λ evenly from [0, 1] as published, more draws it to ½.

    References
    ----------
    Vouitsis et al. 2024 (vouitsis2024fusemix). Their code mixes the two halves of a batch, which
    comes out half as long; here each line is used twice.
    """

    alpha: Annotated[float, Search(0.0, 8.0)] = 1.0

    def __call__(self, batch: Batch) -> Batch:
        """Mixtures, one a line; token sets are left alone, having no common order to mix in."""
        if not self.alpha:
            return batch
        draw = batch.draw("fusemix")
        share = float(draw.beta(self.alpha, self.alpha))
        partner = _partners(batch, draw)
        rows = {
            name: x if x.ndim > 2 else _mix(x, x[partner], share) for name, x in batch.rows.items()
        }
        return replace(
            batch,
            rows=rows,
            ids={name: _pair_ids(ids, partner) for name, ids in batch.ids.items()},
            weights=_mix(batch.weights, batch.weights[partner], share),
            labels=_mixed_labels(batch.labels, partner, share),
            barred=_either(batch.barred, partner),
        )


def _either(barred: Any, partner: Any) -> Any:
    """Mixtures that a guide bars for either of what they are mixed from."""
    return None if barred is None else barred | barred[partner][:, partner]


def _mix(x: Any, y: Any, share: float) -> Any:
    return share * x + (1 - share) * y


def _partners(batch: Batch, draw: Any) -> Any:
    """For each line another of the same pattern of views, each used once; itself where alone."""
    columns = [batch.weights > 0, *(batch.present[name] for name in batch.present)]
    _, pattern = torch.stack(columns, 1).unique(dim=0, return_inverse=True)
    partner = torch.arange(len(batch))
    for number in range(int(pattern.max()) + 1 if len(batch) else 0):
        lines = (pattern == number).nonzero()[:, 0]
        around = lines[torch.from_numpy(draw.permutation(len(lines)))]
        partner[around] = around.roll(1)
    return partner


def _pair_ids(ids: Any, partner: Any) -> Any:
    """New numbers for the pairs of items; absent ones (below 0) stay."""
    _, new = torch.stack([ids, ids[partner]], 1).unique(dim=0, return_inverse=True)
    return torch.where(ids < 0, ids, new.to(ids.dtype))


def _mixed_labels(labels: Any, partner: Any, share: float) -> Any:
    if labels is None:
        return None
    if not labels.is_floating_point():
        labels = torch.nn.functional.one_hot(labels).to(torch.get_default_dtype())
    return _mix(labels, labels[partner], share)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on every coordinate of every source row.

    With ``keep_length``, a row of length l becomes ``l · unit(x/l + std · ε)``: noise is relative
    to its length, and the length stays; on unit rows this is CLOSE. Without it, ``x + std · ε``,
    as C3 has it on rows brought to length 1 and centred beforehand (the map normalises again).

    Parameters
    ----------
    std : of each coordinate, ε ~ N(0, I); 0 changes nothing. The noise's length is about
        ``std · √dim``.
    keep_length : noise relative to the row's length, which stays.

    References
    ----------
    Gu et al. 2023 (gu2023close), std .04 to .12 by task in the authors' code; Zhang et al. 2024
    (zhang2024c3), std √.016.
    """

    std: Annotated[float, Search(0.0, 4.0)] = 0.08
    keep_length: bool = True

    def __call__(self, batch: Batch) -> Batch:
        """The batch with noisy rows; tokens are each a row."""
        if not self.std:
            return batch
        return batch.with_rows({
            name: self._noisy(x, batch.draw(f"noise/{name}")) for name, x in batch.rows.items()
        })  # fmt: skip

    def _noisy(self, x: Any, draw: Any) -> Any:
        noise = self.std * normal(draw, x)
        return at_length(x, noise) if self.keep_length else x + noise


def normal(draw: Any, like: Any) -> Any:
    """Independent normal numbers of the shape and kind of a tensor."""
    return torch.from_numpy(draw.standard_normal(tuple(like.shape))).to(like.dtype)


def at_length(x: Any, change: Any) -> Any:
    """``l · unit(x/l + change)`` for rows of length l; rows of length 0 stay."""
    size = x.norm(dim=-1, keepdim=True)
    unit = torch.nn.functional.normalize
    return size * unit(unit(x, dim=-1) + change, dim=-1)


@dataclass(frozen=True)
class CovarianceNoise:
    """Noise with the mean and covariance of what tells one view from another.

    For views in one frame (of equal width). With unit rows and D the differences ``other − own``
    of the lines that have both, over all other views: ``x' = l · unit(x/l + shift · mean(D) +
    strength · ζ + std · ε)``, ``ζ ~ N(0, cov(D))``, ε ~ N(0, I), l the row's length. Views without
    a partner of their width get the noise ε alone. Mean and covariance are those of the batch.

    Parameters
    ----------
    strength : of the noise ζ; 3 in the authors' code.
    shift : share of the way to the other views' mean.
    std : of the noise ε.

    References
    ----------
    Gu et al. 2023 (gu2023close). They estimate mean and covariance once, on other data.
    """

    strength: Annotated[float, Search(0.0, 8.0)] = 3.0
    shift: Annotated[float, Search(0.0, 1.0)] = 1.0
    std: Annotated[float, Search(0.0, 4.0)] = 0.0

    def __call__(self, batch: Batch) -> Batch:
        """The batch with noisy rows; token sets stay."""
        if not (self.strength or self.shift or self.std):
            return batch
        return batch.with_rows({name: self._noisy(name, batch) for name in batch.rows})

    def _noisy(self, name: str, batch: Batch) -> Any:
        x = batch.rows[name]
        if x.ndim > 2:
            return x
        change = self.std * normal(batch.draw(f"noise/{name}"), x) if self.std else 0 * x
        apart = _differences(name, batch)
        if len(apart):
            mean = apart.mean(0)
            draw = batch.draw(f"covariance-noise/{name}")
            mixing = normal(draw, x.new_empty(len(x), len(apart))) / max(len(apart) - 1, 1) ** 0.5
            change = change + self.shift * mean + self.strength * (mixing @ (apart - mean))
        return at_length(x, change)


def _differences(name: str, batch: Batch) -> Any:
    """Unit rows of every other view of the same width, less this view's, on shared lines."""
    unit = torch.nn.functional.normalize
    x, found = batch.rows[name], []
    for other, y in batch.rows.items():
        if other != name and y.shape == x.shape:
            lines = batch.present[name] & batch.present[other] & (batch.weights > 0)
            found.append(unit(y[lines], dim=1) - unit(x[lines], dim=1))
    return torch.cat(found) if found else x[:0]
