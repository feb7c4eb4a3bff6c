"""What a target promises, and what it may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from conjoin.losses import Param
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Need:
    """Something a target wants to stand in every batch; the collator builds each one once.

    Parameters
    ----------
    kind : ``plan`` (what is hidden), ``codes`` (a class of each token), ``labels``, ``words``.
    view : of which view; "" of all together.
    spec : as recipes write it: of a plan the mask.
    """

    kind: str
    view: str = ""
    spec: str = ""

    @property
    def key(self) -> str:
        """Under what it stands in a batch's ``drawn``."""
        return f"{self.kind}/{self.view}/{self.spec}"


@dataclass(frozen=True)
class Pass:
    """One forward request. Equal ones run once a step, whichever targets ask.

    Parameters
    ----------
    views : what goes in.
    mode : ``alone`` (each by itself) or ``fuse`` (together).
    hide : plans of what is not shown.
    apart : together, with no view looking at another.
    order : tokens look back only.
    teacher : by the moving average of the weights, without gradient.
    """

    views: tuple[str, ...]
    mode: str = "alone"
    hide: tuple[Need, ...] = ()
    apart: bool = False
    order: bool = False
    teacher: bool = False


@dataclass(frozen=True, eq=False)
class Out:
    """What a pass gave.

    Parameters
    ----------
    tokens : by view ``[n, t, dim]``; trained queries under ``queries``.
    keep : by view ``[n, t]``, what exists of them.
    lines : ``[n]`` lines of the batch it was run on: those that have all its views.
    """

    tokens: Mapping[str, Any]
    keep: Mapping[str, Any]
    lines: Any

    def pooled(self, view: str) -> Any:
        """The mean of a view's tokens ``[n, dim]``."""
        return mean(self.tokens[view], self.keep[view])

    def whole(self) -> Any:
        """One vector for all views: the mean of the queries, else of all tokens."""
        import torch

        if "queries" in self.tokens:
            return self.tokens["queries"].mean(1)
        every = torch.cat(list(self.tokens.values()), 1)
        return mean(every, torch.cat([self.keep[view] for view in self.tokens], 1))


def mean(x: Any, keep: Any) -> Any:
    """Mean over tokens that exist ``[n, t, d] → [n, d]``; of none it is 0."""
    return (x * keep[..., None]).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)


class Ask(Protocol):
    """How a target gets forward passes: by asking; what is asked twice is run once."""

    def __call__(self, wanted: Pass) -> Out:
        """A pass over the lines of the batch that have all its views."""
        ...

    def again(self, wanted: Pass, rows: Mapping[str, Any]) -> Out:
        """The same over chosen rows of each view, such as wrong partners; never shared."""
        ...

    def write(self, into: str, context: Out) -> Any:
        """States ``[n, t, dim]`` that tell each token of a view from those before and a context.

        The state at ``t`` has seen the tokens before ``t`` and not itself.
        """
        ...

    def table(self, view: str) -> Any:
        """``[vocabulary, dim]``, the stem's embedding of a view of ids."""
        ...

    def standard(self, view: str) -> Any:
        """``[b, t, wide]`` float tokens as they came in, mean 0 and deviation 1."""
        ...


#: A target's loss and the loss of the best constant answer; or why this batch cannot feed it.
Scored = tuple[Any, Any] | str


@dataclass(frozen=True, eq=False)
class World:
    """What a target is told of the data before training.

    Parameters
    ----------
    views : by name, in order.
    vocabulary : ids of each view, 0 where its tokens are floats.
    wide : numbers of a float token.
    dim : the body's width.
    meets, writes : whether the body can fuse, and has a decoder.
    paired : couples of views that stand on one line somewhere.
    counts : ``[vocabulary]`` by view: how often each id occurs in the training items.
    labels : number of classes, 0 without labels.
    """

    views: tuple[str, ...]
    vocabulary: Mapping[str, int]
    wide: Mapping[str, int]
    dim: int
    meets: bool
    writes: bool
    paired: frozenset[frozenset[str]]
    counts: Mapping[str, Any]
    labels: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """The views whose tokens are ids."""
        return tuple(view for view in self.views if self.vocabulary[view])

    @property
    def floats(self) -> tuple[str, ...]:
        """The views whose tokens are numbers."""
        return tuple(view for view in self.views if not self.vocabulary[view])


@runtime_checkable
class Target(Protocol):
    """A frozen dataclass: what a model is trained for.

    ``decomposes`` says that the mean over two shards of a batch is the value of the whole.
    One that asks for no pass in which views meet says so in an attribute ``fuses``; one that
    holds a part of its loss fixed in the gradient in ``stops``.
    """

    decomposes: ClassVar[bool]

    def lacks(self, world: World) -> str:
        """Why it cannot run on these data with this body; empty where it can."""
        ...

    def needs(self, world: World) -> frozenset[Need]:
        """What the collator is to put into every batch."""
        ...

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """Its heads."""
        ...

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """Its loss and its floor, from passes it asks for.

        Parameters
        ----------
        params : tensors under the names of :meth:`init`.
        """
        ...


def chosen(given: str, among: Sequence[str], what: str) -> tuple[str, ...]:
    """The view a field names, or all of a sort where it names none."""
    del what
    return (given,) if given else tuple(among)


def unigram(counts: Any, targets: Any) -> Any:
    """Mean ``−log`` of the targets' shares in training: what the best constant answer pays."""
    import torch

    counts = torch.as_tensor(counts)
    shares = torch.log((counts + 1e-9) / (counts.sum() + 1e-9 * len(counts)))
    return -shares[targets].mean()
