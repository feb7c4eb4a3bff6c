"""What "relevant" means, planted and found again; several answers that share the probability."""

from dataclasses import replace

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.retrieval.calibration.calibration import CONTEXT, Calibration, evidence, nothing_of
from conjoin.retrieval.calibration.cross_fit import Rehearsal
from conjoin.retrieval.calibration.fit import Lists, auroc, calibrate
from conjoin.retrieval.calibration.graded_relevance import Grades, far, graded
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.calibration.reliability import expected_error
from conjoin.retrieval.hits import Hit
from reference.relevant import relevant_slowly
from test_evaluation import bed_of, fitted, planted


@pytest.mark.parametrize("which", [("labels",), ("keywords",), ("groups",), ("keywords", "groups"),
                                   ("labels", "keywords", "groups")])  # fmt: skip
def test_grades_are_those_of_the_rule_written_again(which):
    rng = np.random.default_rng(0)
    ids = [f"i{n}" for n in range(40)]
    columns = {
        "labels": [None if n % 7 == 0 else f"l{rng.integers(6)}" for n in range(40)],
        "keywords": [None if n % 5 == 0 else [f"W{w}" for w in rng.integers(0, 12, 3)]
                     for n in range(40)],
        "groups": [float("nan") if n % 9 == 0 else f"g{rng.integers(3)}" for n in range(40)],
    }  # fmt: skip
    own = {name: columns[name] for name in which}
    asked, shown = [*ids[3:20], "nobody"], [*ids[::-1], "nobody"]
    found = Grades.of(ids, **own).relevant(asked, shown)
    assert found.tolist() == relevant_slowly(ids, own, asked, shown)
    assert found[:-1].any(axis=1).all()
    assert not found[-1].any()


def test_keywords_are_lists_or_texts_between_commas():
    one = Grades.of("abc", keywords=["Red, fruit", "a car,RED", ""])
    assert one.relevant("a", "abc").tolist() == [[True, True, False]]
    assert one.relevant("c", "abc").tolist() == [[False, False, True]]
    with pytest.raises(ConjoinError, match="name labels"):
        Grades.of("abc")


def planted_lists(seed=0, queries=800):
    """Lists of which two thirds hold several relevant items; their number decides the scores.

    What is taken out of a list is taken out of what its query is familiar with.
    """
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.uniform(-0.2, 0.8, (queries, CONTEXT)), axis=1)
    scores += rng.normal(0, 0.3, (queries, 1))
    likely = 1 / (1 + np.exp(-(6 * scores - 4)))
    right = rng.random(scores.shape) < likely
    without = -np.sort(-np.where(right, -0.5, scores), axis=1)
    near = right.mean(axis=1) + rng.normal(0, 0.2, queries)
    gone = rng.normal(0, 0.2, queries)
    rows, partners = np.tile(np.arange(CONTEXT), (queries, 1)), np.empty(queries, dtype=object)
    lists = Lists(scores, without, right, rows, scores, np.arange(queries), partners,
                  right.sum(axis=1), np.arange(queries) % 5, np.arange(queries), 100, near, 50,
                  gone)  # fmt: skip
    return likely, lists


def test_planted_relevance_is_found_and_keeps_its_word():
    likely, lists = planted_lists()
    made = calibrate(lists, "f", "cosine", 1000, meaning="relevant")
    assert made.calibration.meaning == "relevant"
    assert np.abs(made.held_out - likely).mean() < 0.03
    owner = np.repeat(np.arange(len(lists)), CONTEXT)
    error, *_ = expected_error(made.held_out.ravel(), lists.right.ravel().astype(float), owner)
    assert error < 0.03
    facts = made.calibration.facts
    assert facts["kept"] > 0.93
    # Without the familiarity of the query the chance tells less.
    blind = calibrate(replace(lists, far=None), "f", "cosine", 1000, meaning="relevant")
    assert facts["auroc"] > blind.calibration.facts["auroc"] + 0.02
    # As many more rows are as many more relevant ones: the probability stays.
    plain = Calibration("f", "cosine", 100, "logistic", {"beta": [0.0, 4.0]}, 0.5)
    row = np.array([0.3])
    assert replace(plain, meaning="relevant").probabilities(row, 150) == plain.probabilities(row)
    assert plain.probabilities(row, 150) < plain.probabilities(row)


def test_auroc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 9, 60), rng.integers(0, 7, 80)
    marks = np.concatenate([np.ones(60), np.zeros(80)])
    assert auroc(high, low) == pytest.approx(roc_auc_score(marks, np.concatenate([high, low])))


def hits(*chances):
    return tuple(
        Hit(f"i{rank}", "text", 0, 1.0 - rank / 10, rank, {"cosine": 1.0}, probability=p)
        for rank, p in enumerate(chances, 1)
    )


def test_a_list_is_judged_as_a_whole_at_its_threshold():
    """Five sections share what one would have alone; a list of crumbs stays refused."""
    one = Calibration("f", "cosine", 100, "logistic", {"beta": [0, 1]}, threshold=0.5)
    shared, crumbs = hits(*[0.18] * 5), hits(*[0.02] * 5)
    assert 5 * 0.18 > 0.5 > 0.18
    told = lambda own: nothing_of({"text": own}, {"text": one}, {"text": 100})  # noqa: E731
    assert told(shared) == {}
    assert told(hits(0.18)) != {}
    assert "the partner" in told(crumbs)["text"]
    assert "relevant has" in nothing_of(
        {"text": crumbs}, {"text": replace(one, meaning="relevant")}, {"text": 100}
    )["text"].replace("relevant has the", "relevant has")  # fmt: skip
    p = np.array([0.1, 0.2, 0.3])
    whole = 1 - 0.9 * 0.8 * 0.7
    assert one.chance(p) == pytest.approx(0.6)
    assert one.chance(np.full(9, 0.4)) == pytest.approx(1, abs=1e-3)
    assert replace(one, meaning="relevant").chance(p) == pytest.approx(whole)
    assert evidence(p, "relevant") == pytest.approx(np.log(whole / (1 - whole)))
    exact = replace(one, threshold=float(one.chance(p)))
    assert nothing_of({"text": hits(*p)}, {"text": exact}, {"text": 100}) == {}
    above = replace(one, threshold=float(one.chance(p)) + 1e-6)
    assert nothing_of({"text": hits(*p)}, {"text": above}, {"text": 100}) != {}


def test_eleven_hits_say_what_ten_do():
    one = Calibration("f", "cosine", 100, "logistic", {"beta": [0, 1]}, 0.5)
    p = np.full(30, 0.04)
    assert one.chance(p) == one.chance(p[:CONTEXT]) < 0.5


def world(each, seed=0):
    """Headings and bodies: each topic's heading is answered by ``each`` bodies, one its partner."""
    bed = bed_of(planted("abc", n=240, noise=0.9, seed=seed), ["ab", "ac"], held=40)
    binding = fitted(bed, "ridge", "a")
    ids = [str(item) for item in bed.spaces["a"].ids]
    return bed, binding, Grades.of(ids, labels=[n // each for n in range(len(ids))])


def test_a_fit_with_grades_says_relevant_and_one_without_partner():
    bed, binding, grades = world(4)
    rules = Rules.decided(Rehearsal(binding, bed.spaces, bed.train), grades=grades)
    assert {c.meaning for c in rules.calibrations.values()} == {"relevant"}
    again = Rules.from_json(rules.to_json())
    assert again.to_json() == rules.to_json()
    assert rules.mixing.method != "probability"
    plain = Rules.rehearse(binding, bed.spaces, bed.train)
    assert {c.meaning for c in plain.calibrations.values()} == {"partner"}


def test_scenes_are_graded_by_the_ids_of_their_rows():

    bed, binding, grades = world(4)
    rehearsal = Rehearsal(binding, bed.spaces, bed.train)
    scene = next(s for s in rehearsal.scenes if s.whole and (s.query, s.target) == ("a", "b"))
    more = graded(scene, grades, rehearsal.spaces)
    ids = {name: space.ids.astype(str) for name, space in rehearsal.spaces.items()}
    for line in range(0, len(more.wanted), 7):
        item = ids["a"][scene.asked[scene.wanted.queries[line]]]
        rows = np.isin(more.wanted.item_of, more.wanted.of(line))
        shown = ids["b"][scene.rows]
        assert set(shown[rows]) == {i for i in shown if grades.relevant([item], [i])[0, 0]}
    lost = far(more, grades, rehearsal.spaces)
    assert lost is not None
    assert len(lost) == len(more.wanted)


def test_a_larger_gallery_is_read_as_much_further_down():
    from conjoin.retrieval.calibration.calibration import READ, features

    s = np.linspace(1, 0.1, READ)[None]
    assert np.array_equal(features(s, "context"), features(s, "context", 1.0))
    found = features(s, "context", 1.5)[0, 0]
    wanted = np.interp(1.5 * np.arange(1, CONTEXT + 1), np.arange(1, READ + 1), s[0])
    assert found.tolist() == pytest.approx([1, s[0, 0], wanted[0], wanted.mean()])
    context = Calibration("f", "cosine", 100, "context", {"beta": [0, 4, 0, 3]}, 0.5)
    relevant = replace(context, meaning="relevant", rows=150, sampled=100)
    assert relevant.probabilities(s, 150)[0, 0] < relevant.probabilities(s, 100)[0, 0]
    assert context.probabilities(s, 150)[0, 0] == context.probabilities(s, 100)[0, 0]


def test_init_names_columns_that_items_share_and_no_others(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from conjoin.items.config import Config
    from conjoin.items.reading.guess import look

    rows = range(60)
    columns = {
        "id": [f"i{n}" for n in rows], "caption": [f"a thing of number {n} here" for n in rows],
        "label": [f"own {n}" for n in rows],  # each its own: nothing is shared
        "tags": [["red" if n % 2 else "blue", f"t{n % 7}"] for n in rows],
        "group": [f"g{n % 3}" for n in rows],
    }  # fmt: skip
    for left_out, wanted in (((), ("tags", "group")), (("tags", "group"), (None, None))):
        kept = {name: own for name, own in columns.items() if name not in left_out}
        pq.write_table(pa.table(kept), tmp_path / "t.parquet")
        found = look(tmp_path / "t.parquet")
        (tmp_path / "conjoin.toml").write_text(found.toml)
        part = Config.load(tmp_path / "conjoin.toml").relevance
        assert (part.keywords, part.groups) == wanted
        assert part.labels is None
        assert any("relevance is told by" in note for note in found.notes) == bool(wanted[0])
    columns["label"] = [f"kind {n % 4}" for n in rows]
    pq.write_table(pa.table({n: columns[n] for n in ("id", "caption", "label")}),
                   tmp_path / "t.parquet")  # fmt: skip
    assert 'labels = "label"' in look(tmp_path / "t.parquet").toml


@pytest.mark.parametrize(
    ("queries", "bins"), [(26, 1), (39, 1), (40, 2), (79, 3), (160, 8), (900, 8)]
)
def test_reliability_has_twenty_queries_a_bin(queries, bins):
    p = np.linspace(0.1, 0.9, queries)
    table = expected_error(p, (p > 0.5).astype(float), np.arange(queries))[-1]
    assert len(table) == bins
    assert min(count for *_, count in table) >= 20
    assert sum(count for *_, count in table) == queries


def test_words_are_read_by_the_one_searched_into_else_by_the_best_on_validation():
    from pathlib import Path

    from conjoin.project.fit.stored import Fit
    from conjoin.project.search.queries import readers

    _, binding, _ = world(4)
    assert binding.hub == "a"

    def fit(**found):
        one = Calibration("f", "cosine", 9, "logistic", {"beta": [0, 1]}, 0.1)
        told = {
            tuple(edge.split("_")): replace(one, facts={"answered": share})
            for edge, share in found.items()
        }
        return Fit(Path(), binding, Rules(calibrations=told))

    kinds = {"a": "text", "b": "text", "c": "image"}
    plain = fit(a_c=0.4, b_c=0.7, a_b=0.9)
    assert readers(plain, kinds, "text") == ["b", "a"]  # over c alone: both were put to it
    assert readers(plain, kinds, "text", ["a"]) == ["a", "b"]
    assert readers(plain, kinds, "text", ["a", "c"]) == ["a", "b"]
    assert readers(plain, kinds, "text", ["a", "b"]) == ["b", "a"]
    assert readers(plain, kinds, "text", ["c"]) == ["b", "a"]
    assert readers(fit(a_c=0.7, b_c=0.7), kinds, "text") == ["a", "b"]  # the hub of equals
    assert readers(fit(), kinds, "text") == ["a", "b"]
    assert readers(plain, kinds, "image") == ["c"]
    assert readers(plain, kinds, "audio") == []


def test_headings_that_several_bodies_answer_are_not_refused():
    """A manual: most headings have one body; of some, four bodies say it, and any may be theirs."""
    rng = np.random.default_rng(0)
    shared = np.arange(600) % 6 == 0
    scores = np.full((600, CONTEXT), 0.2)
    scores[:, 0] = np.where(shared, 0.6, 0.9)
    scores[:, 1:4] = np.where(shared[:, None], 0.6, 0.25)
    scores = -np.sort(-(scores + rng.normal(0, 0.03, scores.shape)), axis=1)
    right = np.zeros(scores.shape, dtype=bool)
    right[np.arange(600), np.where(shared, rng.integers(0, 4, 600), 0)] = True
    without = np.full(scores.shape, 0.2) + rng.normal(0, 0.03, scores.shape)
    without = -np.sort(-without, axis=1)
    rows, partners = np.tile(np.arange(CONTEXT), (600, 1)), np.empty(600, dtype=object)
    lists = Lists(scores, without, right, rows, scores, np.arange(600), partners,
                  np.ones(600, int), np.arange(600) % 5, np.arange(600), 100)  # fmt: skip
    made = calibrate(lists, "f", "cosine", 100)
    p = made.held_out
    least = made.calibration.threshold
    whole = made.calibration.chance(p) < least
    assert np.mean(p[shared, 0]) < 0.4 < np.mean(p[~shared, 0])
    assert whole[shared].mean() < 0.12
    by_best = p[:, 0] < np.quantile(p[:, 0], 0.05)
    assert by_best[shared].mean() > 0.15  # what judging by the best hit alone refuses
    assert made.calibration.facts["rejected"][0] > 0.9
