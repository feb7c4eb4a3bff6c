"""The bundled sample as an old and a new encoder see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from conjoin.claims.datasets.registry import embedded, joined, require_views, texts
from conjoin.encoders.builtin.bundled import weights_hash
from conjoin.evaluation.benchmark import Bench
from conjoin.items import Items
from conjoin.items.bundled import sample_path
from conjoin.spaces import Space

OLD, NEW = "builtin:text-static", "builtin:text"

#: Column and encoder of each view.
VIEWS = {
    "old": ("keywords", OLD), "new": ("keywords", NEW),
    "old-name": ("label", OLD), "new-name": ("label", NEW),
    "image": ("noto", "builtin:image"),
}  # fmt: skip


@dataclass(frozen=True)
class EmojiUpgrade:
    """1,910 emoji whose text encoder changes: averaged static vectors before, MiniLM after.

    Documents are the keywords of an item in one line, without its name; names ask for them. A
    group is the column ``family``, as in ``emoji``. What it cannot show: both encoders are small,
    keyword lists are no prose, and the newer encoder is not the better one for every question.

    Views
    -----
    old : keyword lists under averaged static vectors (256).
    new : keyword lists under MiniLM (384).
    old-name : names under averaged static vectors.
    new-name : names under MiniLM.
    image : Noto drawings under EfficientNet-lite0 (1280).
    """

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(VIEWS)

    def load(self, views: Sequence[str]) -> Bench:
        """Embed the views that are not kept yet, and open them."""
        from pyarrow import parquet

        require_views("emoji-upgrade", self.views, views)
        path = sample_path()
        source = weights_hash(path)
        table = parquet.read_table(path, columns=["id", "label", "keywords", "family"])
        ids = [str(item) for item in table.column("id").to_pylist()]
        words = [", ".join(own) for own in table.column("keywords").to_pylist()]
        lists = {item: line for item, line in zip(ids, words, strict=True) if line}

        def read(column: str) -> Items:
            return Items.from_frame(parquet.read_table(path, columns=["id", column]), id="id")

        spaces: dict[str, Space] = {}
        for view in views:
            column, uri = VIEWS[view]
            if column == "keywords":
                spaces[view] = texts(lists, uri, f"emoji-upgrade {view}")
            else:
                spaces[view] = embedded(
                    partial(read, column), column, uri, source, f"emoji-upgrade {view}"
                )
        shared = set(ids)
        for space in spaces.values():
            shared &= set(space.ids.tolist())
        spaces = {
            view: space.take(np.isin(space.ids, sorted(shared))) for view, space in spaces.items()
        }
        family = table.column("family").to_pylist()
        groups = {i: str(g) for i, g in zip(ids, family, strict=True) if i in shared}
        return joined("emoji-upgrade", spaces, groups)
