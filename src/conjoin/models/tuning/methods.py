"""Which weights move: low-rank changes and scales through peft, and subsets of the model's own."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, nearest, optional

#: Names of the projections of attention that are changed where nothing else is asked for.
QUERY_VALUE = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "q", "v", "Wqkv", "qkv")
KEY_VALUE = ("key", "value", "k_proj", "v_proj", "k_lin", "v_lin", "k", "v", "Wqkv", "qkv")
FEED_FORWARD = (
    "output.dense", "down_proj", "fc2", "lin2", "wo", "mlp.Wo",
)  # fmt: skip


@dataclass(frozen=True)
class LowRank:
    """``W x + s · B A x`` with B = 0 at the start; W stays as it is.

    ``s = alpha / rank`` for ``lora`` and ``alpha / √rank`` for ``rslora``; ``dora`` also trains
    the length of each column of ``W + s B A``, which starts as that of W.

    Parameters
    ----------
    method : of these three.
    rank, alpha : of the formula.
    targets : names of the modules changed, parted by commas; ``auto`` for the query and value
        projections of attention.
    lr : of AdamW.

    References
    ----------
    Hu et al. 2022 (hu2022lora); Kalajdzievski 2023 (kalajdzievski2023rslora); Liu et al. 2024
    (liu2024dora). The arithmetic is peft's.
    """

    method: Annotated[str, Choice(("lora", "rslora", "dora"))] = "lora"
    rank: Annotated[int, Search(1, 256, log=True)] = 8
    alpha: Annotated[float, Search(1.0, 512.0, log=True)] = 16.0
    targets: str = "auto"
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    arithmetic: ClassVar[int] = 1

    def attach(self, model: Any, *, seed: int = 0) -> Any:
        """A peft model around the one given."""
        peft = library()
        names = module_names(model, self.targets, QUERY_VALUE)
        config = peft.LoraConfig(
            r=int(self.rank), lora_alpha=self.alpha, target_modules=names, lora_dropout=0.0,
            use_rslora=self.method == "rslora", use_dora=self.method == "dora", bias="none",
        )  # fmt: skip
        return attached(peft, model, config, seed)

    def fold(self, model: Any) -> Any:
        """``W + s B A`` in W's place."""
        return model.merge_and_unload()


@dataclass(frozen=True)
class Scaled:
    """``l ⊙ (W x)`` on keys and values and ``W (l ⊙ x)`` on feed-forward outputs, l = 1 at first.

    Parameters
    ----------
    targets : names of the modules scaled, parted by commas; ``auto`` for keys, values and the
        second layer of feed-forward blocks.
    lr : of AdamW.

    References
    ----------
    Liu et al. 2022 (liu2022ia3). The arithmetic is peft's.
    """

    targets: str = "auto"
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-2
    arithmetic: ClassVar[int] = 1

    def attach(self, model: Any, *, seed: int = 0) -> Any:
        """A peft model around the one given."""
        peft = library()
        names = module_names(model, self.targets, KEY_VALUE)
        inner = []
        if self.targets == "auto":
            # Of BERT's two modules output.dense, that of attention is left as it is.
            inner = [
                name for name, _ in _linear(model)
                if name.endswith(FEED_FORWARD) and "attention" not in name
            ]  # fmt: skip
        config = peft.IA3Config(target_modules=names + inner, feedforward_modules=inner)
        return attached(peft, model, config, seed)

    def fold(self, model: Any) -> Any:
        """The scales in the weights' place."""
        return model.merge_and_unload()


@dataclass(frozen=True)
class Subset:
    """Some of the model's own parameters move, ``θ_S``; all others stay.

    Parameters
    ----------
    which : ``bitfit`` (biases), ``norm`` (gains and biases of normalisations), ``last-k`` (the
        last layers whole) or ``full``.
    layers : of ``last-k``.
    lr : of AdamW.

    References
    ----------
    Biases: Ben Zaken et al. 2022 (benzaken2022bitfit); normalisations: Zhao et al. 2024
    (zhao2024lntuning).
    """

    which: Annotated[str, Choice(("bitfit", "norm", "last-k", "full"))] = "full"
    layers: Annotated[int, Search(1, 64, log=True)] = 1
    lr: Annotated[float, Search(1e-6, 1e-1, log=True)] = 5e-5
    arithmetic: ClassVar[int] = 1

    def attach(self, model: Any, *, seed: int = 0) -> Any:
        """The same model, with gradients where something moves."""
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        found = 0
        for parameter in self._moved(model):
            parameter.requires_grad_(True)
            found += 1
        if not found:
            raise ConjoinError(
                f"--peft {self.which}", "the model has no such parameters", "take lora or full"
            )
        return model

    def _moved(self, model: Any) -> Iterator[Any]:
        if self.which == "full":
            yield from model.parameters()
        elif self.which == "bitfit":
            yield from (p for name, p in model.named_parameters() if name.endswith("bias"))
        elif self.which == "norm":
            for module in model.modules():
                if "norm" in type(module).__name__.lower():
                    yield from module.parameters(recurse=False)
        else:
            stack = layers_of(model)
            if len(stack) < self.layers:
                raise ConjoinError(
                    "--peft last-k", f"{self.layers} layers of {len(stack)}", "ask for fewer"
                )
            for layer in list(stack)[-int(self.layers) :]:
                yield from layer.parameters()

    def fold(self, model: Any) -> Any:
        """The model itself."""
        return model


def library() -> Any:
    """peft, whose import must not print or look for other machines."""
    return optional("peft", "tune")


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings about names that peft reads and transformers is about to drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def attached(peft: Any, model: Any, config: Any, seed: int) -> Any:
    """A peft model whose random start is told by the seed alone."""
    import torch

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config).eval()


def _linear(model: Any) -> list[tuple[str, Any]]:
    import torch

    return [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)]


def module_names(model: Any, asked: str, usual: tuple[str, ...]) -> list[str]:
    """Names of the linear modules that are changed.

    Raises
    ------
    ConjoinError : one of those asked for is no module's, near ones are named; or none of the
        usual is there.
    """
    names = [name for name, _ in _linear(model)]
    last = sorted({name.rsplit(".", 1)[-1] for name in names})
    if asked == "auto":
        found = [n for n in names if n.rsplit(".", 1)[-1] in usual]
        if not found:
            raise ConjoinError(
                "targets", f"no projection of attention among {', '.join(last[:8])}",
                "name modules: --targets NAME,NAME",
            )  # fmt: skip
        return found
    kept: list[str] = []
    for one in (part.strip() for part in asked.split(",") if part.strip()):
        own = [n for n in names if n == one or n.endswith(f".{one}")]
        if not own:
            raise ConjoinError("targets", f"no linear module is named {one!r}", nearest(one, last))
        kept += own
    if not kept:
        raise ConjoinError("targets", "no name given", f"take some of {', '.join(last[:8])}")
    return sorted(set(kept))


def layers_of(model: Any) -> Any:
    """The longest list of like modules: the layers of a transformer.

    Raises
    ------
    ConjoinError : it has none.
    """
    import torch

    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    stacks = [m for m in lists if len(m) and len({type(layer) for layer in m}) == 1]
    if not stacks:
        raise ConjoinError("--peft last-k", "the model has no list of layers", "take lora or full")
    return max(stacks, key=len)


def numbered(name: str) -> int | None:
    """The number of the layer that a parameter's name belongs to.

    >>> numbered("encoder.layer.11.output.dense.weight"), numbered("embeddings.word.weight")
    (11, None)
    """
    found = re.search(r"\.(?:layers?|h|blocks?)\.(\d+)\.", name)
    return int(found.group(1)) if found else None
