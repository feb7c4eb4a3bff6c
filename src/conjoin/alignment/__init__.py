"""Several modalities in one frame: hub, extension, choice, cycle errors."""

from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice, Trial
from conjoin.alignment.cycle_consistency import CycleReport, cycle_report
from conjoin.selection.choose import by_validation

__all__ = ["Binding", "Choice", "CycleReport", "Trial", "by_validation", "cycle_report"]
