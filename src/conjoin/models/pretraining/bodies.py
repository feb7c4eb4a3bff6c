"""What tokens of the views go through: towers, layers where views meet, decoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import (
    Context,
    Params,
    Shape,
    Sight,
    block,
    block_init,
    causal,
    linear,
    linear_init,
    norm,
    norm_init,
)
from conjoin.models.pretraining.steps import Step
from conjoin.storage.digest import stable_hash

KINDS = ("dual", "single", "multiway", "fusion")
MEETINGS = ("concat", "cross", "query")


@dataclass(frozen=True)
class Body:
    """The layers of a model.

    Each view alone passes ``towers`` layers. Where views meet they pass ``top`` layers more.

    - ``dual``: a tower a view; views never meet.
    - ``single``: one stack for all views, ``towers`` layers alone or side by side (UNITER).
    - ``multiway``: one stack whose attention all views share, with a feed-forward part for each;
      where views meet, the last ``top`` layers take a part of their own (VLMo).
    - ``fusion``: a tower a view, then ``top`` layers in which they meet by ``meet``:
      ``concat``, side by side through shared layers (FLAVA); ``cross``, each view attends to the
      others (LXMERT; with ``gated`` by a factor that starts at 0, FIBER); ``query``, trained
      queries attend to all (Q-Former, Perceiver).

    ``link`` says what the top layers get of the towers: their last layer once (``none``);
    ``bridge``, ``LN(z + W u_k)`` with the tower's layer of the same height before each
    (BridgeTower); ``manager``, the same with a trained softmax average of all layers
    (ManagerTower). ``decoder`` layers write one view token by token from the others.

    Parameters
    ----------
    kind : one of the above.
    dim, heads, hidden : width, attention heads, and width of feed-forward parts in units of it.
    towers, top, decoder : layers.
    queries : trained queries of ``meet="query"``.
    dropout : share of units dropped in training.
    """

    kind: Annotated[str, Choice(KINDS)] = "fusion"
    dim: Annotated[int, Search(8, 4096, log=True)] = 64
    heads: Annotated[int, Search(1, 64)] = 4
    hidden: Annotated[float, Search(0.5, 8)] = 2.0
    towers: Annotated[int, Search(0, 48)] = 1
    top: Annotated[int, Search(0, 48)] = 1
    decoder: Annotated[int, Search(0, 48)] = 0
    meet: Annotated[str, Choice(MEETINGS)] = "concat"
    gated: bool = False
    link: Annotated[str, Choice(("none", "bridge", "manager"))] = "none"
    queries: Annotated[int, Search(1, 256)] = 8
    norm: Annotated[str, Choice(("pre", "post"))] = "pre"
    qk_norm: bool = False
    dropout: Annotated[float, Search(0.0, 0.9)] = 0.1
    eps: float = 1e-5

    @property
    def shape(self) -> Shape:
        """The switches of its blocks."""
        inner = int(self.dim * self.hidden)
        return Shape(self.dim, self.heads, inner, self.norm, self.eps, self.qk_norm)

    @property
    def shared(self) -> bool:
        """Whether views go through one stack."""
        return self.kind in ("single", "multiway")

    @property
    def meets(self) -> bool:
        """Whether views can meet in it."""
        return self.shared or (self.kind == "fusion" and self.top > 0)

    def init(self, views: Sequence[str], seed: int) -> dict[str, Param]:
        """Its parameters."""
        made: dict[str, Param] = {}
        for name, options in self._layers(views):
            rng = np.random.default_rng([seed, stable_hash(f"body {name}")])
            made |= block_init(rng, name, self.shape, **options)
        if self.norm == "pre":
            lasts = ["shared"] if self.shared else [f"tower/{view}" for view in views]
            lasts += ["top"] * (self.kind == "fusion" and self.top > 0)
            for name in [*lasts, *(["decoder"] * (self.decoder > 0))]:
                made |= norm_init(f"{name}/last", self.dim)
        rng = np.random.default_rng([seed, stable_hash("body types")])
        if self.meets:
            for view in views:
                made[f"type/{view}"] = Param(rng.standard_normal(self.dim) * 0.1)
        if self.kind == "fusion" and self.meet == "query" and self.top:
            made["queries"] = Param(rng.standard_normal((self.queries, self.dim)) * 0.3)
        if self.kind == "fusion" and self.link != "none":
            made |= self._links(rng, views)
        return made

    def size(self, views: Sequence[str]) -> int:
        """How many numbers its blocks hold, counted without making them."""
        d, inner = self.dim, int(self.dim * self.hidden)
        total = 0
        for _, options in self._layers(views):
            attends = 2 if options.get("cross") else 1
            parts = len(options.get("ways", ("",)))
            total += attends * (4 * d * d + 6 * d) + parts * (2 * d * inner + inner + 3 * d)
        return total

    def _layers(self, views: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        """Names of the blocks and what they are made of."""
        ways = tuple(f".{view}" for view in views)
        found: list[tuple[str, dict[str, Any]]] = []
        if self.shared:
            for at in range(self.towers):
                own: tuple[str, ...] = ("",)
                if self.kind == "multiway":
                    own = (*ways, ".all") if at >= self.towers - self.top else ways
                found.append((f"shared/{at}", {"ways": own}))
        else:
            found += [(f"tower/{v}/{at}", {}) for v in views for at in range(self.towers)]
        if self.kind == "fusion":
            for at in range(self.top):
                if self.meet == "cross":
                    held = {"cross": True, "gated": self.gated}
                    found += [(f"top/{view}/{at}", held) for view in views]
                else:
                    found.append((f"top/{at}", {"cross": self.meet == "query"}))
        return found + [(f"decoder/{at}", {"cross": True}) for at in range(self.decoder)]

    def _links(self, rng: np.random.Generator, views: Sequence[str]) -> dict[str, Param]:
        made: dict[str, Param] = {}
        for view in views:
            for at in range(self.top):
                name = f"link/{view}/{at}"
                made |= norm_init(f"{name}/norm", self.dim)
                if self.link == "bridge":
                    made |= linear_init(rng, f"{name}/proj", self.dim, self.dim)
                else:
                    made[f"{name}/shares"] = Param(np.zeros(self.towers + 1))
        return made

    def layers(self, view: str, x: Any, keep: Any, params: Params, step: Step) -> list[Any]:
        """A view alone: its tokens before and after each layer, the last one normed."""
        found = [x]
        for at in range(self.towers):
            name = f"shared/{at}" if self.shared else f"tower/{view}/{at}"
            way = f".{view}" if self.kind == "multiway" else ""
            x = block(x, Sight(keep), params, name, self.shape, step=step, way=way)
            found.append(x)
        if self.norm == "pre":
            last = "shared/last" if self.shared else f"tower/{view}/last"
            found[-1] = norm(x, params, last, self.eps)
        return found

    def alone(self, view: str, part: Context, params: Params, step: Step) -> Any:
        """A view by itself, as every other view sees nothing of it.

        Gated layers belong to the towers: without another view they are run without a context.
        """
        if self.kind == "fusion" and self.meet == "cross" and self.gated and self.top:
            return self.fuse({view: part}, params, step)[view]
        return self.layers(view, part.x, part.keep, params, step)[-1]

    def fuse(
        self, parts: Mapping[str, Context], params: Params, step: Step, *, apart: bool = False,
        order: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Views together: by view ``[b, t, dim]``, of queries under ``queries``.

        Parameters
        ----------
        parts : stem outputs of the views.
        apart : no view may look at another: the same as each alone.
        order : tokens look at themselves and what stands before, in the order of ``parts``.
        """
        if self.shared:
            return self._together(parts, params, step, apart, order)
        held = {v: self.layers(v, part.x, part.keep, params, step) for v, part in parts.items()}
        if not self.top:
            return {view: found[-1] for view, found in held.items()}
        if self.meet == "cross":
            return self._crossed(parts, held, params, step)
        if self.meet == "query":
            return self._queried(parts, held, params, step)
        return self._over(parts, held, params, step, apart, order)

    def _together(
        self, parts: Mapping[str, Context], params: Params, step: Step, apart: bool, order: bool
    ) -> dict[str, Any]:
        typed = {v: part.x if apart else part.x + params[f"type/{v}"] for v, part in parts.items()}
        x, sight, sizes = joined(typed, parts, apart, order)
        for at in range(self.towers):
            name = f"shared/{at}"
            if self.kind == "single":
                x = block(x, sight, params, name, self.shape, step=step)
            elif at >= self.towers - self.top and not apart:
                x = block(x, sight, params, name, self.shape, step=step, way=".all")
            else:
                x = self._by_view(x, sight, params, name, step, sizes)
        if self.norm == "pre":
            x = norm(x, params, "shared/last", self.eps)
        return dict(zip(sizes, x.split(list(sizes.values()), 1), strict=True))

    def _by_view(
        self, x: Any, sight: Sight, params: Params, name: str, step: Step, sizes: Mapping[str, int]
    ) -> Any:
        """One layer over all tokens, each view's through its own feed-forward part."""
        import torch

        # Attention is the same whatever part follows, so it is run once and the parts on cuts.
        from conjoin.models.pretraining.blocks import attention, feed_forward

        at = f"{name}/attn"
        y = norm(x, params, f"{at}/norm", self.eps) if self.norm == "pre" else x
        y = x + step.drop(attention(y, y, params, at, self.shape, sight.mask()), at)
        y = y if self.norm == "pre" else norm(y, params, f"{at}/norm", self.eps)
        out = []
        for view, cut in zip(sizes, y.split(list(sizes.values()), 1), strict=True):
            part = f"{name}/ffn.{view}"
            if self.norm == "pre":
                inner = norm(cut, params, f"{part}/norm", self.eps)
                out.append(cut + step.drop(feed_forward(inner, params, part), part))
            else:
                summed = cut + step.drop(feed_forward(cut, params, part), part)
                out.append(norm(summed, params, f"{part}/norm", self.eps))
        return torch.cat(out, 1)

    def _linked(self, view: str, z: Any, found: Sequence[Any], at: int, params: Params) -> Any:
        """What a top layer gets: what the one below gave, and of the tower."""
        import torch

        if self.link == "none":
            return z
        name = f"link/{view}/{at}"
        if self.link == "bridge":
            below = found[max(0, len(found) - self.top + at)]
            z = z + linear(below, params, f"{name}/proj")
        else:
            shares = torch.softmax(params[f"{name}/shares"], 0)
            normed = [torch.nn.functional.layer_norm(u, u.shape[-1:]) for u in found]
            z = z + sum(share * u for share, u in zip(shares, normed, strict=True))
        return norm(z, params, f"{name}/norm", self.eps)

    def _over(
        self, parts: Mapping[str, Context], held: Mapping[str, list[Any]], params: Params,
        step: Step, apart: bool, order: bool,
    ) -> dict[str, Any]:  # fmt: skip
        typed = {v: found[-1] + params[f"type/{v}"] for v, found in held.items()}
        x, sight, sizes = joined(typed, parts, apart, order)
        for at in range(self.top):
            if self.link != "none":
                cuts = zip(held, x.split(list(sizes.values()), 1), strict=True)
                x, _, _ = joined(
                    {v: self._linked(v, z, held[v], at, params) for v, z in cuts}, parts
                )
            x = block(x, sight, params, f"top/{at}", self.shape, step=step)
        x = norm(x, params, "top/last", self.eps) if self.norm == "pre" else x
        return dict(zip(sizes, x.split(list(sizes.values()), 1), strict=True))

    def _crossed(
        self, parts: Mapping[str, Context], held: Mapping[str, list[Any]], params: Params,
        step: Step,
    ) -> dict[str, Any]:  # fmt: skip
        import torch

        now = {view: found[-1] for view, found in held.items()}
        for at in range(self.top):
            now = {v: self._linked(v, z, held[v], at, params) for v, z in now.items()}
            before = dict(now)
            for view in now:
                others = [name for name in before if name != view]
                context = None
                if others:
                    context = Context(
                        torch.cat([before[name] + params[f"type/{name}"] for name in others], 1),
                        torch.cat([parts[name].keep for name in others], 1),
                    )
                now[view] = block(
                    before[view], Sight(parts[view].keep), params, f"top/{view}/{at}",
                    self.shape, step=step, context=context,
                )  # fmt: skip
        if self.norm == "post":
            return now
        # Without others, and with gates at 0, a view is what its tower gave, normed once more.
        return {view: norm(z, params, "top/last", self.eps) for view, z in now.items()}

    def _queried(
        self, parts: Mapping[str, Context], held: Mapping[str, list[Any]], params: Params,
        step: Step,
    ) -> dict[str, Any]:  # fmt: skip
        import torch

        typed = [found[-1] + params[f"type/{v}"] for v, found in held.items()]
        context = Context(torch.cat(typed, 1), torch.cat([p.keep for p in parts.values()], 1))
        x = params["queries"].expand(len(context.x), -1, -1)
        seen = Sight(torch.ones(x.shape[:2], dtype=torch.bool))
        for at in range(self.top):
            x = block(x, seen, params, f"top/{at}", self.shape, step=step, context=context)
        x = norm(x, params, "top/last", self.eps) if self.norm == "pre" else x
        return {"queries": x, **{view: found[-1] for view, found in held.items()}}

    def decode(self, own: Context, context: Context, params: Params, step: Step) -> Any:
        """States that tell each next token of ``own``, which looks back and at a context."""
        sight = Sight(own.keep, causal(own.x.shape[1]))
        x = own.x
        for at in range(self.decoder):
            x = block(x, sight, params, f"decoder/{at}", self.shape, step=step, context=context)
        return norm(x, params, "decoder/last", self.eps) if self.norm == "pre" else x


def joined(
    typed: Mapping[str, Any], parts: Mapping[str, Context], apart: bool = False, order: bool = False
) -> tuple[Any, Sight, dict[str, int]]:
    """Views side by side, what exists of them and may be seen, and how many tokens each has."""
    import torch

    sizes = {view: x.shape[1] for view, x in typed.items()}
    keep = torch.cat([parts[view].keep for view in typed], 1)
    edges = None
    if apart:
        owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor([*sizes.values()]))
        edges = (owner[:, None] == owner[None])[None]
    if order:
        back = causal(keep.shape[1])
        edges = back if edges is None else edges & back
    return torch.cat(list(typed.values()), 1), Sight(keep, edges), sizes
