"""Alignment and uniformity from the definitions, one pair of points at a time."""

import math

import numpy as np
import pytest
import torch

from conjoin.losses.regularizers.hypersphere import Alignment, Uniformity
from conjoin.spaces import Batch

N, DIM = 9, 4


def a_batch(seed: int = 0) -> tuple[dict, Batch]:
    """Two views, one line absent in each, one line of weight 0, uneven weights."""
    rng = np.random.default_rng(seed)
    out = {name: torch.from_numpy(rng.normal(size=(N, DIM))) for name in "uv"}
    present = {name: torch.ones(N, dtype=torch.bool) for name in "uv"}
    present["u"][1] = present["v"][2] = False
    weights = torch.from_numpy(rng.uniform(0.5, 2, size=N))
    weights[3] = 0
    return out, Batch(out, {name: torch.arange(N) for name in "uv"}, present, weights)


def on_sphere(x) -> np.ndarray:
    x = x.numpy().astype(np.longdouble)
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_alignment(power):
    out, batch = a_batch()
    u, v = on_sphere(out["u"]), on_sphere(out["v"])
    total = trust = 0.0
    for i in range(N):
        if batch.present["u"][i] and batch.present["v"][i]:
            w = float(batch.weights[i])
            total += w * float(np.sqrt(((u[i] - v[i]) ** 2).sum())) ** power
            trust += w
    assert float(Alignment(power)(out, batch, {})) == pytest.approx(total / trust, rel=1e-9)


@pytest.mark.parametrize("t", [0.5, 2.0, 8.0])
def test_uniformity(t):
    out, batch = a_batch()
    found = []
    for name in "uv":
        z = on_sphere(out[name])
        live = [i for i in range(N) if batch.present[name][i] and batch.weights[i] > 0]
        total = trust = 0.0
        for i in live:
            for j in live:
                if i < j:
                    w = float(batch.weights[i] * batch.weights[j])
                    total += w * math.exp(-t * float(((z[i] - z[j]) ** 2).sum()))
                    trust += w
        found.append(math.log(total / trust))
    assert float(Uniformity(t)(out, batch, {})) == pytest.approx(np.mean(found), rel=1e-9)
