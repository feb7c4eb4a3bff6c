"""Join any encoders into one space, search across it, and know how far to trust it.

Names here are loaded when first used: importing conjoin imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conjoin.alignment.binding import Binding as Binding
    from conjoin.encoders.columns import embed as embed
    from conjoin.errors import ConjoinError as ConjoinError
    from conjoin.evaluation.compare import compare as compare
    from conjoin.evaluation.few_shot import few_shot as few_shot
    from conjoin.evaluation.learning_curve import forecast as forecast
    from conjoin.fusion.model import Fused as Fused
    from conjoin.fusion.sklearn import FusionEstimator as FusionEstimator
    from conjoin.items import Items as Items
    from conjoin.items import sample_path as sample_path
    from conjoin.retrieval.index.index import Index as Index
    from conjoin.selection.choose import by_validation as by_validation
    from conjoin.selection.fit import extend as extend
    from conjoin.selection.fit import fit as fit
    from conjoin.selection.fusion import fuse as fuse
    from conjoin.selection.heads import Lesson as Lesson
    from conjoin.selection.heads import choose_head as choose_head
    from conjoin.selection.students import distill as distill
    from conjoin.spaces import Frame as Frame
    from conjoin.spaces import Pairs as Pairs
    from conjoin.spaces import Space as Space
    from conjoin.spaces import Tokens as Tokens
    from conjoin.transfer.base import Prototypes as Prototypes
    from conjoin.transfer.heads import load_head as load_head
    from conjoin.transfer.heads import save_head as save_head
    from conjoin.transfer.sklearn import HeadClassifier as HeadClassifier
    from conjoin.transfer.sklearn import HeadRegressor as HeadRegressor
    from conjoin.transfer.teachers import Similarities as Similarities

_HOMES = {
    "Binding": "alignment.binding",
    "ConjoinError": "errors",
    "Frame": "spaces",
    "Fused": "fusion.model",
    "FusionEstimator": "fusion.sklearn",
    "HeadClassifier": "transfer.sklearn",
    "HeadRegressor": "transfer.sklearn",
    "Index": "retrieval.index.index",
    "Items": "items",
    "Lesson": "selection.heads",
    "Pairs": "spaces",
    "Prototypes": "transfer.base",
    "Similarities": "transfer.teachers",
    "Space": "spaces",
    "Tokens": "spaces",
    "by_validation": "selection.choose",
    "choose_head": "selection.heads",
    "compare": "evaluation.compare",
    "distill": "selection.students",
    "embed": "encoders.columns",
    "extend": "selection.fit",
    "few_shot": "evaluation.few_shot",
    "fit": "selection.fit",
    "forecast": "evaluation.learning_curve",
    "fuse": "selection.fusion",
    "load_head": "transfer.heads",
    "sample_path": "items",
    "save_head": "transfer.heads",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'conjoin' has no attribute {name!r}")
    return getattr(importlib.import_module(f"conjoin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
