"""What a way of tuning promises."""

from typing import Any, ClassVar, Protocol, runtime_checkable


@runtime_checkable
class Tuning(Protocol):
    """A frozen dataclass whose fields are hyper-parameters: which weights move, and how.

    ``lr`` is the step of AdamW that suits it. Untuned, the model put out by :meth:`attach` gives
    the vectors of the one put in, bit for bit.
    """

    lr: float
    arithmetic: ClassVar[int]

    def attach(self, model: Any, *, seed: int = 0) -> Any:
        """The model with everything frozen but what is tuned; the same object or one around it.

        Parameters
        ----------
        model : a transformers model.

        Raises
        ------
        ConjoinError : no module has one of the names asked for, or there are not as many layers.
        """
        ...

    def fold(self, model: Any) -> Any:
        """A plain model of the same architecture as the one attached to, with the change in it."""
        ...
