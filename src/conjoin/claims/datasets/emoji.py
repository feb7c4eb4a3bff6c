"""The bundled sample as a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from conjoin.catalogue import Choice
from conjoin.claims.datasets.registry import embedded, joined, require_views, texts
from conjoin.encoders.builtin.bundled import weights_hash
from conjoin.evaluation.benchmark import Bench
from conjoin.items import Items
from conjoin.items.bundled import sample_path
from conjoin.quality.robustness.corruptions import Corruption
from conjoin.storage.digest import digest

#: Languages the sample names its items in, beside English.
LANGUAGES = (
    "bn", "da", "de", "en-gb", "es", "es-mx", "et", "fi", "fr", "hi", "hu", "it", "ja", "ko", "lt",
    "ms", "nb", "nl", "pl", "pt", "ru", "sv", "th", "uk", "vi", "zh", "zh-hant",
)  # fmt: skip

_ENGLISH = {
    "text": ("text", "builtin:text"),
    "name": ("label", "builtin:text"),
    "keywords": ("keywords", "builtin:text"),
    "static": ("text", "builtin:text-static"),
    "characters": ("text", "builtin:chargram"),
    "en": ("label", "builtin:chargram"),
    "text-tokens": ("text", "builtin:text?output=tokens"),
}
_SEEN_AND_HEARD = {
    "image": ("noto", "builtin:image"),
    "drawing": ("twemoji", "builtin:image"),
    "image-tokens": ("noto", "builtin:image?output=tokens"),
    "speech": ("speech", "builtin:audio"),
}
#: Views of spoilt pictures: the corruption and its severity.
_SPOILT = {"noisy": ("noise", 3), "blurred": ("blur", 3), "faded": ("contrast", 3)}
_SEEN_AND_HEARD |= dict.fromkeys(_SPOILT, ("noto", "builtin:image"))
_FOREIGN = {code: (f"label_{code.replace('-', '_')}", "builtin:chargram") for code in LANGUAGES}
_FOREIGN |= {f"{code}-text": (column, "builtin:text") for code, (column, _) in _FOREIGN.items()}

#: Column and encoder of each view.
VIEWS = {**_SEEN_AND_HEARD, **_ENGLISH, **_FOREIGN}


@dataclass(frozen=True)
class Emoji:
    """1,910 emoji: two styles of drawing, English words, speech, and names in 27 languages.

    A group is the column ``family``: gender, hair and skin variants, clocks, hearts and moons,
    1,592 in all, so that no near twin of a test item is trained on. The classes are the 99
    subgroups of Unicode ("face-concerned", "animal-mammal"), or its ten groups; their words are
    embedded by the encoder of each English view asked for. Sources and licences:
    ``items/sample/LICENSES.md`` (Apache-2.0, CC BY 4.0, MIT, Unicode-3.0).

    What it cannot show: pictures are clean drawings of one object, words are dictionary entries,
    speech is one synthetic voice; the image encoder was trained on photographs. Flags are 269 of
    the items and nearly one class. Names in different languages share loanwords and proper names.
    A keyword may stand with items on both sides of the split.

    Parameters
    ----------
    labels : which classes, ``subgroup`` (99) or ``group`` (10).

    Views
    -----
    image : Noto drawings under EfficientNet-lite0 (1280).
    drawing : Twemoji drawings under the same.
    noisy : Noto drawings with Gaussian noise of severity 3 of 5, .18 of the range, under the same.
    blurred : the same drawings blurred, severity 3.
    faded : the same drawings at .2 of their contrast, severity 3.
    image-tokens : a 4 × 4 grid of the Noto drawing's features, sixteen vectors of 1280.
    text : label and keywords in one line, under MiniLM (384).
    text-tokens : the vector of every token of the text (384).
    name : the label alone, under MiniLM.
    keywords : each keyword a part of its item, under MiniLM; five an item on average.
    static : the text under averaged static vectors (256), a weaker encoder of the same cells.
    characters : the text under hashed n-grams of its characters (1024), weaker still.
    speech : the label, spoken by a synthesiser, under log-mel statistics (2305).
    en : the label under hashed character n-grams; likewise de, ja, zh-hant and 24 more languages.
    de-text : the label in German under MiniLM, which was trained on English; likewise the others.
    """

    labels: Annotated[str, Choice(("subgroup", "group"))] = "subgroup"

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(VIEWS)

    def load(self, views: Sequence[str]) -> Bench:
        """Embed the views that are not kept yet, and open them."""
        require_views("emoji", self.views, views)
        path = sample_path()
        source = weights_hash(path)

        def read(*columns: str) -> Items:
            from pyarrow import parquet

            return Items.from_frame(parquet.read_table(path, columns=["id", *columns]), id="id")

        def spoilt(name: str, severity: int) -> Items:
            from pyarrow import parquet

            table = parquet.read_table(path, columns=["id", "noto"]).to_pydict()
            spoil = Corruption(name, severity)
            cells = [spoil(c, i) for c, i in zip(table["noto"], table["id"], strict=True)]
            return Items.from_frame({"id": table["id"], "noto": cells}, id="id")

        spaces = {}
        for view in views:
            column, uri = VIEWS[view]
            how = _SPOILT.get(view)
            make = partial(read, column) if how is None else partial(spoilt, *how)
            what = source if how is None else digest([source, *how])
            spaces[view] = embedded(make, column, uri, what, f"emoji {view}")
        facts = read("family", self.labels)
        ids = [str(item) for item in facts.ids]
        groups = dict(zip(ids, map(str, facts.column("family")), strict=True))
        labels = dict(zip(ids, map(str, facts.column(self.labels)), strict=True))
        words = {label: label.replace("-", " ") for label in sorted(set(labels.values()))}
        names = {view: texts(words, _ENGLISH[view][1]) for view in views if view in _ENGLISH}
        return joined("emoji", spaces, groups, labels, names)
