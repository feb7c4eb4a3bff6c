"""Join any encoders into one space, search across it, and know how far to trust it.

Names here are loaded when first used: importing conjoin imports nothing else.
"""

import importlib
import re
from pathlib import Path
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
    from conjoin.project.open import Project as Project
    from conjoin.project.open import open as open
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

#: Where each public name lives, read from the imports above: they are the one list.
_HOMES = {
    name: home
    for home, name in re.findall(
        r"^    from (conjoin[.\w]*) import \w+ as (\w+)$",
        Path(__file__).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'conjoin' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
