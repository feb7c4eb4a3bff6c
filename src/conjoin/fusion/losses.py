"""What the training of a fusion minimises: the task, and what each method adds to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from conjoin.losses import Param
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash

#: Weight of a state's mean squared change beside its error, as the authors set it.
CHANGE = 0.01
#: Temperature of the contrast between projections, and its weight.
SHARED, CONTRAST = 0.5, 0.1
#: Weight of reconstruction and of the divergence beside the task.
RECONSTRUCT = 0.1


@dataclass(frozen=True, eq=False)
class FusionLoss:
    """Task loss plus what a method adds, times its weight.

    Parameters
    ----------
    numbers : numbers are decided, not classes.
    extra : name of :data:`EXTRAS`.
    balance : name of :data:`BALANCES`.
    strength : weight of ``extra`` and ``balance``.
    teachers : by view, projections of a network that was trained on it alone.
    """

    numbers: bool
    extra: str = "none"
    balance: str = "none"
    strength: float = 1.0
    teachers: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """The predictor of ``similar``, two layers as wide as the fused vector; else nothing."""
        if self.extra != "similar":
            return {}
        rng = np.random.default_rng([stable_hash("predictor")])
        return {
            name: Param(rng.normal(size=(dim, dim)) * np.sqrt(gain / dim), decay=True)
            for name, gain in (("inner", 2.0), ("outer", 1.0))
        } | {"inner_bias": Param(np.zeros(dim)), "outer_bias": Param(np.zeros(dim))}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """A scalar tensor."""
        out = {**out, "predictor": params}
        total = self.task(out["logits"], batch)
        if self.extra != "none":
            total = EXTRAS[self.extra](self, out, batch, total)
        if self.balance != "none":
            total = BALANCES[self.balance](self, out, batch, total)
        return total

    def task(self, logits: Any, batch: Batch) -> Any:
        """Weighted mean of cross-entropy, or of half the squared error."""
        import torch.nn.functional as F

        y, w = batch.labels, batch.weights
        if self.numbers:
            values = (logits[:, 0] - y) ** 2 / 2
        else:
            values = F.cross_entropy(logits, y, reduction="none")
        return (w * values).sum() / w.sum().clamp(min=1e-9)


# Methods


def stepwise(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """Errors after every step, absent views skipped, plus what the state moves by."""
    errors = [loss.task(out["steps"][0], batch)]
    for place, logits in enumerate(out["steps"][1:]):
        lines = out["here"][:, place].nonzero()[:, 0]
        if len(lines):
            share = len(lines) / len(batch)
            errors.append(loss.task(logits[lines], batch.take(lines)) * share)
    moved = sum(each.mean() for each in out["changes"]) / len(out["changes"])
    return sum(errors) / len(out["steps"]) + CHANGE * loss.strength * moved


def similar(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """The fused vector ``u`` of fewer views and that ``v`` of all predict each other.

    ``−(cos(h(u), stop(v)) + cos(h(v), stop(u))) / 2`` with a predictor h of two layers.
    """
    fewer = (out["known"] & ~out["here"]).any(dim=1).nonzero()[:, 0]
    if not len(fewer):
        return total
    z = {name: own[fewer] for name, own in out["clean"].items()}
    part, whole = out["vector"][fewer], out["again"](z, out["known"][fewer])["vector"]
    near = predicted(part, whole, out["predictor"]) + predicted(whole, part, out["predictor"])
    w = batch.weights[fewer]
    return total - loss.strength * (w * near).sum() / (2 * w.sum())


def predicted(x: Any, y: Any, p: Mapping[str, Any]) -> Any:
    """``cos(h(x), stop(y))`` of each row, ``h(x) = relu(x W₁ + b₁) W₂ + b₂``."""
    import torch.nn.functional as F

    made = (x @ p["inner"] + p["inner_bias"]).relu() @ p["outer"] + p["outer_bias"]
    return F.cosine_similarity(made, y.detach(), dim=1)


def guessed(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """VICReg between what is guessed of a hidden view and what it is (25, 25, 1 in shares)."""
    parts = []
    for place, (name, guess) in enumerate(out["guesses"].items()):
        hidden = out["known"][:, place] & ~out["here"][:, place]
        lines = hidden.nonzero()[:, 0]
        if len(lines) > 1:
            parts.append(vicreg(guess[lines], out["clean"][name][lines].detach()))
    if not parts:
        return total
    return total + loss.strength * sum(parts) / len(parts)


def vicreg(x: Any, y: Any) -> Any:
    """``|x − y|²`` a coordinate, spread kept at 1 and coordinates apart, weighed 25 : 25 : 1.

    The last two are of ``x`` alone: ``y`` is fixed. The sum is divided by 25.
    """
    import torch

    same = ((x - y) ** 2).mean()
    centred = x - x.mean(dim=0)
    spread = torch.sqrt(centred.var(dim=0) + 1e-4)
    wide = torch.relu(1 - spread).mean()
    covariance = centred.T @ centred / (len(x) - 1)
    apart = (covariance**2).sum() - (covariance.diagonal() ** 2).sum()
    return same + wide + apart / x.shape[1] / 25


def bound(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """A drawn vector decides and rebuilds every known view, and stays near the prior."""
    drawn, divergence = _drawn(out, batch)
    logits = drawn @ out["params"]["head"] + out["params"]["head_bias"]
    error = _rebuilt(out, batch, drawn)
    return loss.task(logits, batch) + RECONSTRUCT * loss.strength * (error + divergence)


def mutual(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """As :func:`bound`, with each expert's prior being every other present expert in turn."""
    drawn, divergence = _drawn(out, batch)
    logits = drawn @ out["params"]["head"] + out["params"]["head_bias"]
    error = _rebuilt(out, batch, drawn)
    terms = []
    for a, b in combinations(range(out["here"].shape[1]), 2):
        both = (out["here"][:, a] & out["here"][:, b]).nonzero()[:, 0]
        if len(both):
            one, other = ((out["means"][both, k], out["logvars"][both, k]) for k in (a, b))
            terms += [_mean_kl(one, other), _mean_kl(other, one)]
    joined = sum(terms) / len(terms) if terms else divergence
    return loss.task(logits, batch) + RECONSTRUCT * loss.strength * (error + joined)


def _drawn(out: Mapping[str, Any], batch: Batch) -> tuple[Any, Any]:
    """A draw an item, of the product or of one present expert, and the divergence from N(0, 1)."""
    import torch

    if "mean" in out:
        mean, logvar = out["mean"], out["logvar"]
    else:
        scores = torch.from_numpy(batch.draw("expert").random(tuple(out["here"].shape)))
        pick = torch.where(out["here"], scores, -1.0).argmax(dim=1)
        lines = torch.arange(len(pick))
        mean, logvar = out["means"][lines, pick], out["logvars"][lines, pick]
    noise = torch.from_numpy(batch.draw("vector").standard_normal(tuple(mean.shape)))
    drawn = mean + (logvar / 2).exp() * noise.to(mean.dtype)
    zero = torch.zeros_like(mean)
    return drawn, _mean_kl((mean, logvar), (zero, zero))


def _mean_kl(one: tuple[Any, Any], other: tuple[Any, Any]) -> Any:
    """Mean over items and coordinates of KL(one ‖ other), both normal with means and log-vars."""
    (m, a), (k, b) = one, other
    return ((b - a + (a.exp() + (m - k) ** 2) / b.exp() - 1) / 2).mean()


def _rebuilt(out: Mapping[str, Any], batch: Batch, drawn: Any) -> Any:
    """Mean squared error of every known view's rows, rebuilt from the drawn vectors."""
    p, parts = out["params"], []
    for place, (name, x) in enumerate(out["rows"].items()):
        lines = out["known"][:, place].nonzero()[:, 0]
        if len(lines):
            made = drawn[lines] @ p[f"decode/{name}"] + p[f"decode/{name}/bias"]
            parts.append(((made - x[lines]) ** 2).mean())
    return sum(parts) / len(parts)


# Balance


def competing(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """Each view's encoder raises what its own permutation changes, and lowers what others' do.

    ``− Σ_m JS(p, p without m's order)`` through m's projection, ``+`` the same through the other
    views' (the greedy game), plus a contrast that draws views of one class together.
    """
    import torch

    names = list(out["z"])
    term: Any = 0.0
    for place, name in enumerate(names):
        lines = out["here"][:, place].nonzero()[:, 0]
        if len(lines) < 2 or len(names) < 2:
            continue
        order = torch.from_numpy(batch.draw(f"permute {name}").permutation(len(lines)))
        z = {n: own[lines] for n, own in out["z"].items()}
        here = out["here"][lines]
        for own in (True, False):
            free = {n: v if (n == name) is own else v.detach() for n, v in z.items()}
            moved = {n: v[order] if n == name else v for n, v in free.items()}
            before = out["again"](free, here)["logits"]
            after = out["again"](moved, here)["logits"]
            term = term + (-1 if own else 1) * divergence(before, after, loss.numbers)
    return total + loss.strength * (term / len(names) + shared(loss, out, batch))


def divergence(one: Any, other: Any, numbers: bool = False) -> Any:
    """Mean Jensen-Shannon divergence of two decisions; of numbers, half their squared distance."""
    import torch

    if numbers:
        return ((one - other) ** 2).mean() / 2
    p, q = one.softmax(dim=1), other.softmax(dim=1)
    middle = torch.log((p + q) / 2 + 1e-20)
    both = (p * (torch.log(p + 1e-20) - middle) + q * (torch.log(q + 1e-20) - middle)).sum(dim=1)
    return both.mean() / 2


def shared(loss: FusionLoss, out: Mapping[str, Any], batch: Batch) -> Any:
    """Contrast of all projections of a batch; those of one class are alike.

    Where numbers are decided, those of one item.
    """
    import torch
    import torch.nn.functional as F

    rows, owners = [], []
    marks = torch.arange(len(batch)) if loss.numbers else batch.labels
    for place, z in enumerate(out["z"].values()):
        lines = out["here"][:, place].nonzero()[:, 0]
        rows.append(F.normalize(z[lines], dim=1))
        owners.append(marks[lines])
    x, y = torch.cat(rows), torch.cat(owners)
    scores = x @ x.T / SHARED
    alone = torch.eye(len(x), dtype=torch.bool)
    alike = (y[:, None] == y) & ~alone
    if not alike.any():
        return scores.sum() * 0
    shares = scores.masked_fill(alone, -1e9).log_softmax(dim=1)
    return -CONTRAST * shares[alike].mean()


def taught(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """Projections stay near those of a network that was trained on each view alone."""
    parts = []
    for place, (name, teacher) in enumerate(loss.teachers.items()):
        lines = out["known"][:, place].nonzero()[:, 0]
        if len(lines):
            wanted = teacher(out["rows"][name][lines])
            parts.append(((out["clean"][name][lines] - wanted) ** 2).mean())
    return total + loss.strength * sum(parts) / len(parts) if parts else total


def harmonised(loss: FusionLoss, out: Mapping[str, Any], batch: Batch, total: Any) -> Any:
    """One loss a view, decided from it alone; where two gradients oppose, each loses the part
    that runs against the other.

    Gradients are those of all parameters but the projections', which belong to one view.
    """
    import torch

    leaves = [v for k, v in out["params"].items() if not k.startswith("stem/")]
    losses = []
    for place in range(out["here"].shape[1]):
        lines = out["here"][:, place].nonzero()[:, 0]
        if not len(lines):
            continue
        only = torch.zeros_like(out["here"][lines])
        only[:, place] = True
        z = {n: own[lines] for n, own in out["z"].items()}
        losses.append(loss.task(out["again"](z, only)["logits"], batch.take(lines)))
    if len(losses) < 2:
        return total
    grads = [_flat(torch, each, leaves) for each in losses]
    change = sum(realigned(grads)) - sum(grads)
    tilt = _dot(leaves, change)
    # The value stays; the gradient of the sum becomes that of the realigned ones.
    return total + loss.strength * (sum(losses) + tilt - tilt.detach()) / len(losses)


def realigned(grads: Sequence[Any]) -> list[Any]:
    """Each gradient without its part against any other it opposes.

    ``g_a ← g_a − (g_a · g_b) / |g_b|² g_b`` where ``g_a · g_b < 0``, ``g_b`` as it was.
    """
    found = []
    for a, own in enumerate(grads):
        for b, other in enumerate(grads):
            against = own @ other
            if a != b and against < 0:
                own = own - against / (other @ other).clamp(min=1e-20) * other
        found.append(own)
    return found


def _flat(torch: Any, value: Any, leaves: Sequence[Any]) -> Any:
    found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    parts = [torch.zeros_like(v) if g is None else g for g, v in zip(found, leaves, strict=True)]
    return torch.cat([part.reshape(-1) for part in parts]).detach()


def _dot(leaves: Sequence[Any], flat: Any) -> Any:
    total, start = 0.0, 0
    for leaf in leaves:
        count = leaf.numel()
        total = total + (leaf.reshape(-1) * flat[start : start + count]).sum()
        start += count
    return total


EXTRAS: Mapping[str, Callable[..., Any]] = {
    "stepwise": stepwise, "similar": similar, "guessed": guessed, "bound": bound,
    "mutual": mutual,
}  # fmt: skip
#: Bodies that put out what an extra reads; the others go with any.
BODIES_OF: Mapping[str, tuple[str, ...]] = {
    "stepwise": ("state",), "guessed": ("predicted",), "bound": ("poe", "moe"),
    "mutual": ("poe", "moe"),
}  # fmt: skip
BALANCES: Mapping[str, Callable[..., Any]] = {
    "competing": competing, "taught": taught, "harmonised": harmonised,
}  # fmt: skip
