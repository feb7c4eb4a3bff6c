"""Training two heads by contrast at batch 4096: ours against open_clip's loss path.

The peer's path is restated: full logits, one cross-entropy over rows and one over columns. Both
train the same two MLP heads by AdamW from the same vectors. Figures are CPU-seconds a step on one
thread, medians of interleaved repeats, and the rise of the process's peak memory over a step,
each in a process of its own. The bound is the step's multiplications over a measured product.

    python benchmarks/infonce.py [--json] [--repeats 5]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from conjoin.losses.contrastive.infonce import InfoNCE  # noqa: E402
from conjoin.spaces import Batch  # noqa: E402

LINES, WIDTHS, HIDDEN, DIM = 4096, (768, 384), 512, 384
VARIANTS = ("peer", "ours", "ours, bfloat16 loss", "ours, bfloat16 loss and heads")


def heads() -> torch.nn.ModuleList:
    torch.manual_seed(0)
    return torch.nn.ModuleList(
        torch.nn.Sequential(
            torch.nn.Linear(d, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, DIM)
        )
        for d in WIDTHS
    )


def peer_loss(u: torch.Tensor, v: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    u, v = (torch.nn.functional.normalize(x, dim=-1) for x in (u, v))
    labels = torch.arange(len(u))
    by_row, by_column = scale.exp() * u @ v.T, scale.exp() * v @ u.T
    entropy = torch.nn.functional.cross_entropy
    return (entropy(by_row, labels) + entropy(by_column, labels)) / 2


class Step:
    """One variant: heads, optimiser and a step of training."""

    def __init__(self, variant: str):
        rng = np.random.default_rng(0)
        shared = rng.normal(size=(LINES, 64))
        self.rows = [
            torch.from_numpy((shared @ rng.normal(size=(64, d)) / 8).astype(np.float32))
            for d in WIDTHS
        ]
        self.variant, self.heads = variant, heads()
        self.scale = torch.tensor(np.log(1 / 0.07), dtype=torch.float32, requires_grad=True)
        self.optimiser = torch.optim.AdamW([*self.heads.parameters(), self.scale], lr=1e-3)
        line = torch.arange(LINES)
        every = torch.ones(LINES, dtype=torch.bool)
        self.batch = Batch(
            dict(zip("uv", self.rows, strict=True)),
            {"u": line, "v": line},
            {"u": every, "v": every},
            torch.ones(LINES),
        )
        self.objective = InfoNCE(half="bfloat16" in variant)

    def __call__(self) -> float:
        """Train once; the loss before it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.variant.endswith("heads")):
            u, v = (head(x) for head, x in zip(self.heads, self.rows, strict=True))
        u, v = u.float(), v.float()
        if self.variant == "peer":
            loss = peer_loss(u, v, self.scale)
        else:
            loss = self.objective({"u": u, "v": v}, self.batch, {"log_scale": self.scale})
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


def bound() -> float:
    """Seconds of the step's multiplications at the speed of a large product, measured here."""
    a = torch.randn(2048, 2048)
    rates = []
    for _ in range(5):
        start = time.process_time()
        _ = a @ a
        rates.append(2 * 2048**3 / (time.process_time() - start))
    # Forward and backward of the heads (no gradient by their input), three products of the loss.
    inner = sum(2 * d * HIDDEN + 3 * HIDDEN * DIM for d in WIDTHS)
    return float(2 * LINES * (inner + 3 * LINES * DIM) / max(rates))


def memory(variant: str) -> float:
    """Rise of peak memory over two steps in MB, in this process."""
    torch.set_num_threads(1)
    step = Step(variant)
    u = torch.nn.functional.normalize(torch.randn(64, 64), dim=1)
    _ = u @ u.T
    before = high_water()
    for _ in range(2):
        step()
    return high_water() - before


def high_water() -> float:
    """Peak memory of the process in MB (Linux; rusage would count its parent as well)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak(variant: str) -> float:
    found = subprocess.run(
        [sys.executable, __file__, "--memory", variant], check=True, capture_output=True, text=True
    )
    return float(found.stdout)


def measure(repeats: int) -> dict:
    torch.set_num_threads(1)
    steps = {name: Step(name) for name in VARIANTS}
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    losses = {}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            losses[name] = step()
            seconds[name].append(time.process_time() - start)
    limit = bound()
    middle = {name: float(np.median(taken[1:])) for name, taken in seconds.items()}
    return {
        "lines": LINES,
        "repeats": repeats,
        "bound_seconds": limit,
        "results": [
            {
                "variant": name,
                "cpu_seconds": middle[name],
                "ratio": middle[name] / middle["peer"],
                "over_bound": middle[name] / limit,
                "peak_mb": peak(name),
                "loss": losses[name],
            }
            for name in VARIANTS
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="InfoNCE head training against open_clip's path.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(memory(given.memory))
        return
    found = measure(given.repeats)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print(f"bound {found['bound_seconds']:.3f} s a step (fp32 products)")
    for row in found["results"]:
        print(
            f"{row['variant']:32s} {row['cpu_seconds']:.3f} s  {row['ratio']:.2f} of the peer  "
            f"{row['over_bound']:.2f} of bound  +{row['peak_mb']:.0f} MB  loss {row['loss']:.4f}"
        )


if __name__ == "__main__":
    main()
