"""All views of a line at once: what none of the pairs shows, the tuple may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.losses.base import Addable, Param, nothing, trained_views
from conjoin.losses.contrastive.softmax import by_rows
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Symile(Addable):
    """Name the tuple a line belongs to, by the product of all its views.

    The score of vectors x, y, … is ``⟨x, y, …⟩ / τ = (1/(τ dim)) Σ_d x_d y_d ⋯``, each row brought
    to a root mean square of 1; of two views it is their cosine. Each view in turn is the anchor:
    among the line's own tuple of other views and tuples put together from other lines, the
    cross-entropy of naming its own. Averaged over lines by ``batch.weights`` and over anchors.

    Only lines with every view count. A trainable that puts something in the place of an absent
    view (the authors learn a mark of absence beside the mean) says so by ``present``.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    negatives : ``shuffled``: every other view in a random order of its own, n − 1 negatives a
        line; ``all``: every combination of the other two of three views, n² − 1 negatives.
    normalise : bring rows to a root mean square of 1 (the authors end in a layer normalisation).
    block : rows of logits held at a time; for ``all``, memory is n² where that is more.

    Raises
    ------
    ConjoinError : ``all`` with other than three views.

    References
    ----------
    Saporta et al. 2024 (saporta2024symile); score and sampling as in the authors' code. Where a
    tuple put together happens to show what the line shows, it is left out.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    negatives: Annotated[str, Choice(("shuffled", "all"))] = "shuffled"
    normalise: bool = True
    block: int = 512
    decomposes: ClassVar[bool] = False
    guided: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over anchors; zero where no line has all views."""
        names = trained_views(out, batch)
        if self.negatives == "all" and len(names) != 3:
            raise ConjoinError(
                "symile.negatives", f"'all' of {len(names)} views", "give three, or 'shuffled'"
            )
        lines = _in_order(names, batch)
        if not len(lines) or len(names) < 2:
            return nothing(out, batch)
        rows = {name: self._scaled(out[name][lines]) for name in names}
        ids = {name: batch.ids[name][lines] for name in names}
        share = batch.weights[lines].to(rows[names[0]].dtype)
        losses = []
        for anchor in names:
            others = [name for name in names if name != anchor]
            x = rows[anchor]
            x = x * (inverse(self.temperature, params, x) / x.shape[1])
            others_of = [(rows[name], ids[name]) for name in others]
            if self.negatives == "all":
                each = self._all(x, others_of)
            else:
                orders = [_order(batch, f"symile/{anchor}/{n}", len(lines)) for n in others]
                each = self._shuffled(x, others_of, orders)
            losses.append((share * each).sum() / share.sum())
        return torch.stack(losses).mean()

    def _scaled(self, x: Any) -> Any:
        unit = torch.nn.functional.normalize
        return unit(x, dim=1) * x.shape[1] ** 0.5 if self.normalise else x

    def _shuffled(self, x: Any, others: list[tuple[Any, Any]], orders: list[Any]) -> Any:
        own = reduce(torch.mul, [rows for rows, _ in others], x).sum(1)
        mixed = reduce(
            torch.mul, [rows[order] for (rows, _), order in zip(others, orders, strict=True)]
        )
        shown = [(ids, ids[order]) for (_, ids), order in zip(others, orders, strict=True)]

        def each(cut: slice) -> Any:
            same = reduce(torch.logical_and, [a[cut, None] == b for a, b in shown])
            s = (x[cut] @ mixed.T).masked_fill(same, -torch.inf)
            s = s.diagonal_scatter(own[cut], offset=cut.start)
            return s.logsumexp(1) - own[cut]

        return by_rows(each, len(x), self.block)

    def _all(self, x: Any, others: list[tuple[Any, Any]]) -> Any:
        (y, left), (z, right) = others
        own = (x * y * z).sum(1)
        at = torch.arange(len(x))

        def each(cut: slice) -> Any:
            same = (left[cut, None] == left)[:, :, None] & (right[cut, None] == right)[:, None]
            k = at[: len(same)]
            same[k, at[cut], at[cut]] = False
            s = torch.einsum("kd,nd,md->knm", x[cut], y, z).masked_fill(same, -torch.inf)
            return s.flatten(1).logsumexp(1) - own[cut]

        return by_rows(each, len(x), max(1, self.block // len(x)))


def _in_order(names: list[str], batch: Batch) -> Any:
    """Lines with all views, by what they show, so that draws do not hang on their order."""
    live = batch.weights > 0
    for name in names:
        live = live & batch.present[name]
    lines = live.nonzero()[:, 0]
    for name in reversed(names):
        lines = lines[batch.ids[name][lines].argsort(stable=True)]
    return lines


def _order(batch: Batch, role: str, count: int) -> Any:
    return torch.from_numpy(batch.draw(role).permutation(count))
