"""Trained on one domain, asked in another that the same encoder reads."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, FrameError
from conjoin.evaluation.arms import Made, Scores, bind
from conjoin.evaluation.benchmark import Bench, Setting, refuse_leak, whole_setting
from conjoin.evaluation.retrieval import by_chance, directions, drawn, judged
from conjoin.spaces import Space


@dataclass(frozen=True, eq=False)
class Through:
    """A binding that maps one view as if it were another of the same encoder.

    Parameters
    ----------
    view, by : the view that has no map, and the view whose map it takes.
    """

    binding: Binding
    view: str
    by: str

    def bind(self, name: str, space: Space) -> Space:
        """The vectors of a view in the joint frame."""
        return self.binding.bind(self.by if name == self.view else name, space)


@dataclass(frozen=True)
class DomainShift:
    """Train on one drawing style and its texts, search with another style, both ways.

    Both styles come from one encoder, so the map of the first is put to the second, which nothing
    was fitted to; settings are chosen in the first style. Items are apart as ever: what is asked
    was trained on in no style.

    Parameters
    ----------
    source : the style trained on; the first view where not given.
    target : the style asked with; the first other view of the same encoder where not given.
    text : the view searched; the first view of another encoder where not given.
    pairs : training lines; ``None`` takes nine tenths.
    """

    source: str | None = None
    target: str | None = None
    text: str | None = None
    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    metrics: ClassVar[tuple[str, ...]] = ("recall@10",)

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training pairs of the first style, held-out pairs of the second.

        Raises
        ------
        FrameError : the two styles were read by two encoders.
        ConjoinError : a view is missing.
        """
        source, target, text = self._views(bench)
        if bench.view(source).frame != bench.view(target).frame:
            raise FrameError(
                f"data {bench.name}", f"{source} and {target} come from two encoders",
                "name two views of one encoder",
            )  # fmt: skip
        whole = whole_setting(bench, (source, target, text))
        train = drawn(whole.train.select((source, text)), self.pairs, seed)
        test = whole.bed.test.select((target, text))
        refuse_leak(train, test)
        if not len(test):
            raise ConjoinError(f"data {bench.name}", f"no held-out {target}", "name another view")
        return replace(whole, bed=replace(whole.bed, train=train, test=test))

    def _views(self, bench: Bench) -> tuple[str, str, str]:
        source = self.source or next(iter(bench.spaces))
        frame = bench.view(source).frame
        same = [name for name, s in bench.spaces.items() if s.frame == frame and name != source]
        apart = [name for name, s in bench.spaces.items() if s.frame != frame]
        target = self.target or next(iter(same), None)
        text = self.text or next((name for name in apart if name != target), None)
        if target is None or text is None:
            raise ConjoinError(
                f"data {bench.name}", f"views {', '.join(bench.spaces)}",
                "name two views of one encoder and one of another",
            )  # fmt: skip
        return source, target, text

    def fit(self, setting: Setting, made: Made, seed: int) -> Through:
        """A binding of the first style and text, ready for the second style."""
        source = setting.train.names[0]
        target = next((name for name in setting.spaces if name not in setting.train.names), source)
        return Through(bind(setting, made, seed), target, source)

    def judge(self, setting: Setting, fitted: Through) -> Scores:
        """Queries of both directions."""
        return judged(setting, fitted, directions(setting), self.metrics)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, directions(setting), self.metrics)
