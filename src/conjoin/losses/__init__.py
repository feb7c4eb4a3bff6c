"""Losses over named outputs of a batch; they add and scale."""

from conjoin.losses.base import Objective, Param, Ramp, Sum

__all__ = ["Objective", "Param", "Ramp", "Sum"]
