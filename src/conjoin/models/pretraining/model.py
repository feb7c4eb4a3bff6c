"""Stems, a body and targets as one model: forward requests are planned, equal ones run once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import Context, Params
from conjoin.models.pretraining.bodies import Body
from conjoin.models.pretraining.stems import Stem
from conjoin.models.pretraining.steps import Step
from conjoin.models.pretraining.targets.base import Need, Out, Pass, Target, World
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash


def part(params: Params, name: str) -> dict[str, Any]:
    """What is held under ``name/``, by the rest of its key."""
    own = f"{name}/"
    return {key[len(own) :]: value for key, value in params.items() if key.startswith(own)}


@dataclass(frozen=True, eq=False)
class Weighed:
    """A target in a recipe.

    Parameters
    ----------
    label : what it is called there, and in curves and files.
    weight : what its loss is multiplied by.
    every : it is asked at each so-manieth step.
    """

    label: str
    target: Target
    weight: float = 1.0
    every: int = 1


@dataclass(frozen=True, eq=False)
class Losses:
    """What a batch costs.

    Parameters
    ----------
    total : the weighted sum to minimise, or ``None`` where no target could run.
    found : loss and floor by label.
    skipped : by label, why it could not run.
    """

    total: Any
    found: Mapping[str, tuple[float, float]]
    skipped: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Model:
    """A model that parts make.

    Parameters
    ----------
    stems : by view.
    body : where tokens go through.
    targets : what it is trained for.
    world : the data as targets were told of them.
    facts : what it was assembled from, as JSON; a run goes on only where they agree.
    """

    stems: Mapping[str, Stem]
    body: Body
    targets: Sequence[Weighed]
    world: World
    facts: Mapping[str, Any] = field(default_factory=dict)

    def init(self, seed: int) -> dict[str, Param]:
        """Where each parameter starts; the stems', body's and each target's do not interact."""
        made: dict[str, Param] = {}
        for view, stem in self.stems.items():
            made |= {f"stem/{view}/{key}": value for key, value in stem.init(seed).items()}
        body = self.body.init(self.world.views, seed)
        made |= {f"body/{key}": value for key, value in body.items()}
        for each in self.targets:
            own = each.target.init(self.world, seed + stable_hash(each.label) % 2**31)
            made |= {f"target/{each.label}/{key}": value for key, value in own.items()}
        return made

    @property
    def needs(self) -> frozenset[Need]:
        """The union of what its targets need of a batch."""
        return frozenset().union(*(each.target.needs(self.world) for each in self.targets))

    def losses(
        self, batch: Batch, params: Params, step: Step, *,
        active: Sequence[str] | None = None, number: int = 0, teacher: Params | None = None,
    ) -> Losses:  # fmt: skip
        """What the targets find in a batch.

        Parameters
        ----------
        active : labels that are asked; all if not given.
        number : of the step, for targets that are asked now and then.
        teacher : the moving average of the weights, for targets that look at it.
        """
        plan = Plan(self, batch, params, step, teacher)
        total: Any = None
        found: dict[str, tuple[float, float]] = {}
        skipped: dict[str, str] = {}
        for each in self.targets:
            if (active is not None and each.label not in active) or number % each.every:
                continue
            own = part(params, f"target/{each.label}")
            scored = each.target(plan, batch, own, self.world)
            if isinstance(scored, str):
                skipped[each.label] = scored
                continue
            loss, floor = scored
            found[each.label] = (float(loss.detach()), float(floor))
            total = each.weight * loss + (0.0 if total is None else total)
        if total is not None:
            for aside in step.side:
                total = total + aside
        return Losses(total, found, skipped)

    def encode(self, view: str, raw: Any, keep: Any, params: Params) -> Any:
        """A view's tokens ``[b, t, dim]`` outside training."""
        step = Step()
        x = self.stems[view](raw, keep, part(params, f"stem/{view}"), step)
        return self.body.alone(view, Context(x, keep), part(params, "body"), step)


@dataclass(frozen=True, eq=False)
class Plan:
    """The forward passes of one step, run when first asked for and kept.

    Parameters
    ----------
    teacher : weights of passes that ask for the moving average; the model's own if none.
    """

    model: Model
    batch: Batch
    params: Params
    step: Step
    teacher: Params | None = None
    done: dict[Pass, Out] = field(default_factory=dict)
    stemmed: dict[tuple[Any, ...], Context] = field(default_factory=dict)
    parts: dict[tuple[str, bool], dict[str, Any]] = field(default_factory=dict)

    def __call__(self, wanted: Pass) -> Out:
        """A pass over the lines of the batch that have all its views."""
        if wanted not in self.done:
            self.done[wanted] = self._run(wanted, self.lines(wanted.views))
        return self.done[wanted]

    def lines(self, views: Sequence[str]) -> Any:
        """Lines of the batch that have all of some views."""
        import torch

        here = torch.stack([self.batch.present[view] for view in views])
        return here.all(0).nonzero()[:, 0]

    def again(self, wanted: Pass, rows: Mapping[str, Any]) -> Out:
        """The pass over chosen rows of each view."""
        return self._run(wanted, rows)

    def write(self, into: str, context: Out) -> Any:
        """States that tell each token of a view from those before it and a context."""
        import torch

        views = [view for view in context.tokens if view != into]
        if "queries" in context.tokens:
            views = ["queries"]
        held = Context(
            torch.cat([context.tokens[view] for view in views], 1),
            torch.cat([context.keep[view] for view in views], 1),
        )
        own = self._stem(into, None, False)
        x, keep = own.x[context.lines], own.keep[context.lines]
        # Each state may see what stands before its token: all are moved on by one, behind a zero.
        moved = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        seen = torch.cat([torch.ones_like(keep[:, :1]), keep[:, :-1]], 1)
        params = self._part("body", False)
        return self.model.body.decode(Context(moved, seen), held, params, self.step)

    def table(self, view: str) -> Any:
        """The stem's embedding of a view of ids."""
        return self.params[f"stem/{view}/table"]

    def standard(self, view: str) -> Any:
        """Float tokens as they came in, standardised."""
        return self.model.stems[view].standard(self.batch.rows[view])

    def _part(self, name: str, teacher: bool) -> dict[str, Any]:
        at = (name, teacher)
        if at not in self.parts:
            params = self.teacher if teacher and self.teacher is not None else self.params
            self.parts[at] = part(params, name)
        return self.parts[at]

    def _stem(self, view: str, hide: Any, teacher: bool) -> Context:
        at = (view, hide, teacher)
        if at not in self.stemmed:
            plan = None if hide is None else self.batch.drawn[hide]
            raw, keep = self.batch.rows[view], self.batch.masks[view]
            step = Step() if teacher else self.step
            params = self._part(f"stem/{view}", teacher)
            x = self.model.stems[view](raw, keep, params, step, plan)
            self.stemmed[at] = Context(x, keep)
        return self.stemmed[at]

    def _run(self, wanted: Pass, rows: Any) -> Out:
        import torch

        if wanted.teacher:
            with torch.no_grad():
                return self._forward(wanted, rows, Step())
        return self._forward(wanted, rows, self.step)

    def _forward(self, wanted: Pass, rows: Any, step: Step) -> Out:
        parts: dict[str, Context] = {}
        for view in wanted.views:
            held = self._stem(view, hidden(wanted, view), wanted.teacher)
            chosen = rows[view] if isinstance(rows, Mapping) else rows
            parts[view] = Context(held.x[chosen], held.keep[chosen])
        params = self._part("body", wanted.teacher)
        body = self.model.body
        if wanted.mode == "alone":
            tokens = {v: body.alone(v, held, params, step) for v, held in parts.items()}
        elif body.meets:
            tokens = body.fuse(parts, params, step, apart=wanted.apart, order=wanted.order)
        else:
            raise ConjoinError(
                f"body {body.kind}", "its views never meet", "take kind fusion, single or multiway"
            )
        keep = {view: held.keep for view, held in parts.items()}
        if "queries" in tokens:
            keep["queries"] = tokens["queries"].new_ones(tokens["queries"].shape[:2]).bool()
        lines = rows if not isinstance(rows, Mapping) else rows[wanted.views[0]]
        return Out(tokens, keep, lines)


def hidden(wanted: Pass, view: str) -> str | None:
    """Under what key a batch holds what a pass hides of a view; ``None`` if nothing."""
    for need in wanted.hide:
        if need.view == view:
            return need.key
        if not need.view:
            return f"{need.key}/{view}"
    return None
