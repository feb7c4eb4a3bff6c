"""Every recipe on planted data: its targets fall below their floors, and stay there when shuffled.

    python benchmarks/pretraining_controls.py [NAME …]      # writes pretraining_controls.json

The planted items tell of five hidden signs in every view. ``shuffled`` has the same cells with ids
and tokens mixed over all items, fresh ones every step, so that there is nothing to learn.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import planted  # noqa: E402
from conjoin.catalogue import of_kind  # noqa: E402
from conjoin.models.pretraining.recipe import put  # noqa: E402

OUT = HERE / "pretraining_controls.json"
SIZES = ("body.dim=32", "body.heads=4", "batch=32", "validation=0", "course.dropout=0.0")


def items(views, count, mixed=False):
    signs = planted.signs_of(count)
    made = {}
    for at, (view, table) in enumerate(views.items()):
        cells = str(table.get("cells", "frozen")).partition(":")[0]
        if cells in ("letters", "subwords"):
            made[view] = planted.letters(signs)
        else:
            made[view] = planted.floats(signs, 12, at, each=3 if cells == "frames" else 1)
    found = planted.corpus(made)
    return planted.shuffled(found) if mixed else found


def small(name, steps, rate):
    made = of_kind("recipe")[name].make()
    views = {v: {k: x for k, x in t.items() if k != "bands"} for v, t in made.views.items()}
    made = replace(made, views=views)
    for text in (*SIZES, f"course.steps={steps}", f"course.lr={rate}"):
        made = put(made, text)
    return made


def main(names):
    known = of_kind("recipe")
    found = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in names or known:
        began = time.process_time()
        made = small(name, 200, 0.005)
        learnt = made.fit(items(made.views, 256), seed=0).trained.curves.ends()
        mixed = small(name, 40, 0.002)
        nothing = mixed.fit(items(mixed.views, 2000, True), seed=0).trained.curves.ends()
        found[name] = {
            label: {
                "loss": round(loss, 4), "floor": round(floor, 4), "learnt": bool(loss < floor),
                "shuffled": round(nothing[label][0], 4), "its_floor": round(nothing[label][1], 4),
            }
            for label, (loss, floor) in learnt.items()
        }  # fmt: skip
        OUT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(name, f"{time.process_time() - began:.0f} s", found[name], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
