"""Losses over named outputs of a batch; they add and scale."""

from conjoin.losses.base import Loss, Param, Ramp, Sum

__all__ = ["Loss", "Param", "Ramp", "Sum"]
