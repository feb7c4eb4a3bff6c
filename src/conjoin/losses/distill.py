"""Losses of a student before its teachers: the first view of a batch before the others."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.losses.base import Addable, Param, nothing, trained_views
from conjoin.losses.contrastive.softmax import Keys, alike
from conjoin.losses.temperature import inverse
from conjoin.spaces import Batch


def lessons(out: Mapping[str, Any], batch: Batch, fewest: int) -> Iterator[tuple[Any, Any, Any]]:
    """For each teacher: the student's rows, the teacher's, and the lines where both count."""
    names = trained_views(out, batch)
    for teacher in names[1:]:
        both = batch.present[names[0]] & batch.present[teacher] & (batch.weights > 0)
        lines = both.nonzero()[:, 0]
        if len(lines) >= fewest:
            yield out[names[0]][lines], out[teacher][lines], lines


@dataclass(frozen=True)
class Relational(Addable):
    """The student's distances and angles between rows are the teacher's.

    ``loss = a Σ wᵢwⱼ h(|sᵢ−sⱼ|/μₛ − |tᵢ−tⱼ|/μₜ) / (Σw)²
    + b Σ wᵢwⱼwₖ h(cos∠sᵢsⱼsₖ − cos∠tᵢtⱼtₖ) / (Σw)³``, where μ is the mean distance between two
    lines, the angle is the one at j, and ``h(u) = u²/2`` up to 1 and ``|u| − 1/2`` beyond;
    averaged over teachers, which may be of any width. Memory is lines³.

    Parameters
    ----------
    distance, angle : a and b.

    References
    ----------
    Park et al. 2019 (park2019rkd).
    """

    distance: Annotated[float, Search(0.0, 100.0)] = 1.0
    angle: Annotated[float, Search(0.0, 100.0)] = 2.0
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over teachers; zero where none shares two lines with the student."""
        losses = [nothing(out, batch)]
        for s, t, lines in lessons(out, batch, 2):
            trust = batch.weights[lines].to(s.dtype)
            share, part = trust / trust.sum(), s.new_zeros(())
            pairs = share[:, None] * share
            if self.distance:
                gap = huber(_distances(s, pairs) - _distances(t.to(s.dtype), pairs))
                part = part + self.distance * (pairs * gap).sum()
            if self.angle:
                gap = huber(_angles(s) - _angles(t.to(s.dtype)))
                part = part + self.angle * torch.einsum("j,i,k,jik->", share, share, share, gap)
            losses.append(part)
        return sum(losses) / max(len(losses) - 1, 1)


def huber(u: Any) -> Any:
    """``u²/2`` up to 1 and ``|u| − 1/2`` beyond."""
    size = u.abs()
    return torch.where(size < 1, u.square() / 2, size - 0.5)


def _distances(x: Any, pairs: Any) -> Any:
    """Distances of all lines over their mean between two."""
    own = torch.eye(len(x), dtype=torch.bool)
    squared = (x[:, None] - x).square().sum(-1).clamp_min(1e-12)
    apart = squared.masked_fill(own, 1.0).sqrt().masked_fill(own, 0.0)
    mean = (pairs * apart).sum() / pairs.masked_fill(own, 0.0).sum()
    return apart / mean.clamp_min(1e-12)


def _angles(x: Any) -> Any:
    """``[j, i, k]`` cosines of the angle at line j between lines i and k; 0 where i or k is j."""
    own = torch.eye(len(x), dtype=torch.bool)
    way = x[:, None] - x
    length = way.square().sum(-1).masked_fill(own, 1.0).clamp_min(1e-24).sqrt()
    way = (way / length[..., None]).masked_fill(own[..., None], 0.0)
    return way @ way.transpose(1, 2)


@dataclass(frozen=True)
class Affinity(Addable):
    """The student finds the same lines alike as its teachers do.

    With ``p_x(j | i) = softmax over j ≠ i of cos(xᵢ, xⱼ) / τ`` the loss is
    ``Σ wᵢ KL(p_t(· | i) ‖ p_s(· | i)) / Σ w``, averaged over teachers, which may be of any width.
    With ``partition``, and where the trainable puts out what the student was at first as
    ``frozen``, a line is taught by whichever of teacher and first student is surer of it: by the
    probability on lines of its own class where there are labels, else by the largest.

    Parameters
    ----------
    temperature : τ of the student.
    teacher : τ of the teachers.

    References
    ----------
    Similarities of an ensemble, kept beside the data: Vasu et al. 2024 (vasu2024mobileclip), who
    match pictures with texts where this matches rows with rows. Partition: Roth et al. 2024
    (roth2024gains), on probabilities of classes; their order of the two sides of the divergence
    was not checked.
    """

    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.05
    teacher: Annotated[float, Search(0.005, 1.0, log=True)] = 0.05
    partition: bool = False
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over teachers; zero where none shares three lines with the student."""
        losses = [nothing(out, batch)]
        for s, t, lines in lessons(out, batch, 3):
            own = torch.eye(len(lines), dtype=torch.bool)
            aim = _log_likeness(t.to(s.dtype), self.teacher, own)
            if self.partition and "frozen" in out:
                first = _log_likeness(out["frozen"][lines].detach(), self.temperature, own)
                labels = None if batch.labels is None else batch.labels[lines]
                surer = _sureness(aim, labels) >= _sureness(first, labels)
                aim = torch.where(surer[:, None], aim, first)
            found = _log_likeness(s, self.temperature, own)
            apart = (aim.exp() * (aim - found).masked_fill(own, 0.0)).sum(1)
            trust = batch.weights[lines].to(s.dtype)
            losses.append((trust * apart).sum() / trust.sum())
        return sum(losses) / max(len(losses) - 1, 1)


def _log_likeness(x: Any, temperature: float, own: Any) -> Any:
    """``log p(j | i)``; minus infinity for a line itself."""
    z = torch.nn.functional.normalize(x, dim=1)
    return (z @ z.T / temperature).masked_fill(own, -torch.inf).log_softmax(1)


def _sureness(logs: Any, labels: Any) -> Any:
    """Probability on lines of the same class, or the largest where there are no labels."""
    p = logs.detach().exp()
    if labels is None:
        return p.amax(1)
    return (p * (labels[:, None] == labels)).sum(1)


@dataclass(frozen=True)
class TeacherContrast(Addable):
    """Each line of the student names its own among the teacher's.

    With ``p(j | i) = softmax over j of cos(sᵢ, tⱼ) / τ`` the loss is
    ``Σ wᵢ (1 − p(i|i))^f (−log p(i|i)) / Σ w + α Σ wᵢ KL(q(· | i) ‖ p(· | i)) / Σ w``, where
    ``q(j | i) = softmax over j of cos(sⱼ, tᵢ) / τ`` asks the other way; averaged over teachers,
    which must be as wide as the student. Other lines that show the same are left out. With
    ``hardest`` only the lines nearest to i by the teacher's own cosines stand against i.

    Parameters
    ----------
    temperature : τ at the start; trained, with ``1/τ`` from 1 to 10 (or the start beyond).
    consistency : α.
    focus : f; above 0 what is hard for the student counts more, as it is now.
    hardest : lines against each; ``None`` for all.

    References
    ----------
    Contrast and consistency: Giakoumoglou and Stathaki 2024 (giakoumoglou2024dcd); the bias that
    their code trains beside τ changes no softmax and is left out. Negatives picked by the
    teacher, and weights by difficulty: Rao et al. 2023 (rao2023dcd), of which only the idea is
    here: the formula of their weights is not public code.
    """

    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.37
    consistency: Annotated[float, Search(0.0, 10.0)] = 0.5
    focus: Annotated[float, Search(0.0, 5.0)] = 0.0
    hardest: Annotated[int | None, Search(1, 1024, log=True)] = None
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, the logarithm of ``1/τ``."""
        first = -math.log(self.temperature)
        return {"log_scale": Param(first, 0.0, max(math.log(10.0), first))}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over teachers; zero where none shares a line with the student.

        Raises
        ------
        ConjoinError : a teacher is of another width.
        """
        losses = [nothing(out, batch)]
        names = trained_views(out, batch)
        for s, t, lines in lessons(out, batch, 1):
            if s.shape[1] != t.shape[1]:
                raise ConjoinError(
                    "teacher", f"is {t.shape[1]} wide, the student {s.shape[1]}",
                    "give the student the teacher's width",
                )  # fmt: skip
            unit = torch.nn.functional.normalize
            u, v = unit(s, dim=1), unit(t.to(s.dtype), dim=1)
            ids = batch.ids[names[0]][lines]
            out_of = alike(Keys(ids, ids), slice(0, len(lines)))
            out_of.diagonal().fill_(False)
            logits = (u @ v.T) * inverse(self.temperature, params, u)
            trust = batch.weights[lines].to(s.dtype)
            losses.append(((trust / trust.sum()) * self._lines(logits, v, out_of)).sum())
        return sum(losses) / max(len(losses) - 1, 1)

    def _lines(self, logits: Any, teacher: Any, out_of: Any) -> Any:
        """The loss of each line."""
        against = out_of | self._easy(teacher, out_of)
        named = logits.masked_fill(against, -torch.inf).log_softmax(1).diagonal()
        loss = -named
        if self.focus:
            loss = loss * (1 - named.exp()).clamp_min(1e-12).pow(self.focus)
        if self.consistency:
            p = logits.masked_fill(out_of, -torch.inf).log_softmax(1)
            q = logits.T.masked_fill(out_of, -torch.inf).log_softmax(1)
            gap = (q - p).masked_fill(out_of, 0.0)
            loss = loss + self.consistency * (q.exp() * gap).sum(1)
        return loss

    def _easy(self, teacher: Any, out_of: Any) -> Any:
        """Lines that the teacher finds farther off than the hardest ones."""
        n = len(teacher)
        if self.hardest is None or self.hardest >= n - 1:
            return torch.zeros_like(out_of)
        near = (teacher @ teacher.T).detach()
        off = out_of | torch.eye(n, dtype=torch.bool)
        last = near.masked_fill(off, -torch.inf).topk(self.hardest, 1).values[:, -1:]
        return (near < last) & ~torch.eye(n, dtype=torch.bool)
