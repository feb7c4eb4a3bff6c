"""A teacher's matrix of one view against another, taught beside the contrast of partners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, pairs_present
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch

#: What the teacher makes of a view stands in the outputs under this and the view's name.
TEACHER = "teacher/"


@dataclass(frozen=True)
class CrossAffinity(Addable):
    """The student's similarities of one view's rows with another's are the teacher's.

    For views a and b with student rows u, v and teacher rows s, t of n lines,
    ``p(j | i) = softmax over j of cos(uᵢ, vⱼ) / τ`` and
    ``q(j | i) = softmax over j of cos(sᵢ, tⱼ) / τ_t``;
    ``loss = (1 − share) InfoNCE + share Σ wᵢ KL(q(· | i) ‖ p(· | i)) / Σ w``, the last averaged
    with the same from b to a, and over pairs of views; with a ``weight`` it is
    ``InfoNCE + weight Σ wᵢ KL(q ‖ p) / Σ w``. The trainable puts the teacher's rows out as
    ``out["teacher/" + view]``; a pair of views it does not put out is left to the contrast.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    teacher : τ_t.
    share : of the teacher's part.
    weight : of the teacher's part beside a whole InfoNCE, in place of ``share``.
    only_right : of a direction, teach only lines whose partner the teacher itself ranks first;
        the others count 0 in the mean.
    one_temperature : divide the student's cosines by τ_t too, where they are taught.
    within : add the same of each view's rows with one another, a row itself left out.

    References
    ----------
    Vasu et al. 2024 (vasu2024mobileclip), whose loss this is, of one teacher. Ni et al. 2023
    (ni2023modx) teach by an earlier model where it is right, at τ_t 1; Zhu et al. 2023
    (zhu2023ctp) by an earlier model at one temperature, and within views too.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    teacher: Annotated[float, Search(0.005, 1.0, log=True)] = 0.05
    share: Annotated[float, Search(0.0, 1.0)] = 0.7
    only_right: bool = False
    weight: Annotated[float | None, Search(0.0, 1e5)] = None
    one_temperature: bool = False
    within: bool = False
    decomposes: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any]] = {
        "weight": None, "one_temperature": False, "within": False,
    }  # fmt: skip

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum; the contrast alone where nothing is taught."""
        contrast = InfoNCE(self.temperature, self.learn_temperature)(out, batch, params)
        unit, losses = torch.nn.functional.normalize, []
        for a, b, lines in pairs_present(out, batch):
            if TEACHER + a not in out or TEACHER + b not in out:
                continue
            u, v = (unit(out[name][lines], dim=1) for name in (a, b))
            s, t = (unit(out[TEACHER + name][lines].to(u.dtype), dim=1).detach() for name in (a, b))
            sharp = 1 / self.teacher if self.one_temperature else inverse(
                self.temperature, params, u
            )  # fmt: skip
            found = u @ v.T * sharp
            aim = s @ t.T / self.teacher
            trust = batch.weights[lines].to(u.dtype)
            ways = ((aim, found, batch.ids[b][lines]), (aim.T, found.T, batch.ids[a][lines]))
            between = sum(self._apart(*way, trust) for way in ways) / 2
            if self.within and len(lines) > 1:
                same = ((u, s), (v, t))
                between = between + sum(self._inside(*each, sharp, trust) for each in same) / 2
            losses.append(between)
        if not losses:
            return contrast
        taught = torch.stack(losses).mean()
        if self.weight is not None:
            return contrast + self.weight * taught
        return (1 - self.share) * contrast + self.share * taught

    def _apart(self, aim: Any, found: Any, shown: Any, trust: Any) -> Any:
        """The weighted mean divergence of one direction."""
        q, p = aim.log_softmax(1), found.log_softmax(1)
        each = (q.exp() * (q - p)).sum(1)
        if self.only_right:
            each = each * (shown[aim.argmax(1)] == shown)
        return (trust * each).sum() / trust.sum().clamp_min(1e-12)

    def _inside(self, u: Any, s: Any, sharp: Any, trust: Any) -> Any:
        """The weighted mean divergence of one view's rows with one another."""
        own = torch.eye(len(u), dtype=torch.bool)
        q = (s @ s.T / self.teacher).masked_fill(own, -torch.inf).log_softmax(1)
        p = (u @ u.T * sharp).masked_fill(own, -torch.inf).log_softmax(1)
        each = (q.exp() * (q - p).masked_fill(own, 0.0)).sum(1)
        return (trust * each).sum() / trust.sum().clamp_min(1e-12)
