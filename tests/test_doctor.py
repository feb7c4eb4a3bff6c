"""The doctor on planted errors: what is there is found, and what is not is not."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.metrics.similarity.mutual_knn import nearest
from conjoin.quality import cross_fit as crossing
from conjoin.quality.cross_fit import answers, cross
from conjoin.quality.decisions import Decision, follow, merged
from conjoin.quality.duplicates import sureness
from conjoin.quality.finding import KINDS, Finding, Report, measured, precision_of
from conjoin.quality.hard_pairs import around, hardness, parts
from conjoin.quality.inputs import Case, _leading
from conjoin.quality.mismatch import suspect, wrong_share
from conjoin.quality.neighbours import neighbours
from conjoin.quality.run import examine
from conjoin.quality.table_checks import permuted, scripts
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.storage.digest import stable_hash


def spaces(n=300, seed=0, noise=0.3, swap=0, copies=0, hidden=8):
    """Two views of one hidden cause; the first ``swap`` right cells change places."""
    rng = np.random.default_rng(seed)
    cause = rng.standard_normal((n, hidden))
    ids = np.array([f"i{k:03d}" for k in range(n)])
    made = {}
    for name, dim in (("a", hidden + 4), ("b", hidden + 2)):
        turn = np.random.default_rng(dim).standard_normal((hidden, dim))
        rows = cause @ turn + noise * rng.standard_normal((n, dim))
        if copies:
            near = rows[:copies] + 0.02 * rng.standard_normal((copies, dim))
            rows = np.concatenate([rows, near])
        if name == "b" and swap:
            rows[:swap] = np.roll(rows[:swap], 1, axis=0)
        names = np.concatenate([ids, [f"copy{k:03d}" for k in range(copies)]])
        made[name] = Space.of(rows.astype(np.float32), names, name=name)
    return made


def case(made, held=(), groups=None, **more):
    ids = np.unique(np.concatenate([s.ids for s in made.values()]))
    pairs = Pairs.by_id(made, groups) if len(made) > 1 else None
    return Case(made, pairs, ids, groups or {}, frozenset(held), **more)


# Mismatches


def test_swapped_pairs_are_told_and_others_are_not():
    report = examine(case(spaces(swap=30)), ["mismatch"])
    told = {f.items[0] for f in report.findings}
    true = {f"i{k:03d}" for k in range(30)}
    assert len(told & true) >= 24
    assert len(told - true) <= 2
    assert all(f.precision > 0.6 for f in report.findings)
    assert report.facts["mismatch"]["a+b"]["wrong_at_most"] == pytest.approx(0.1, abs=0.04)
    best = report.findings[0]
    assert (best.kind, best.modality, best.items[0]) == ("mismatch", "a+b", best.items[1])


def test_the_right_partner_is_named():
    found = examine(case(spaces(swap=30, noise=0.1)), ["mismatch"]).findings
    right = [f.evidence["better"] == f"i{(int(f.items[0][1:]) + 1) % 30:03d}" for f in found]
    assert np.mean(right) > 0.7


def catalogue(n=400, hard=0.5, swap=0, seed=0):
    """Pairs of which half are bound and half are not, which ``a`` shows; some are swapped."""
    rng = np.random.default_rng(seed)
    cause = rng.standard_normal((n, 6))
    far = np.arange(n) >= (1 - hard) * n
    ids = np.array([f"i{k:03d}" for k in range(n)])
    made = {}
    for name in "ab":
        own = np.where(far[:, None], rng.standard_normal((n, 6)), cause)
        side = 3 * np.where(far, 1, -1) if name == "a" else np.zeros(n)
        rows = np.concatenate([own, side[:, None]], axis=1)
        rows += 0.1 * rng.standard_normal(rows.shape)
        if name == "b" and swap:
            place = np.flatnonzero(~far)[:swap]
            rows[place] = np.roll(rows[place], 1, axis=0)
        made[name] = Space.of(rows.astype(np.float32), ids, name=name)
    return made


def test_pairs_that_are_hard_in_company_are_not_told():
    """Half of the pairs look as wrong ones do, and none is wrong."""
    report = examine(case(catalogue()), ["mismatch"])
    told = report.facts["mismatch"]["a+b"]
    assert told["alike"] > 0.2
    assert told["wrong_at_most"] < 0.05
    assert len(report.findings) <= 2
    assert any("by nature" in note for note in report.notes)


def test_wrong_pairs_among_easy_ones_are_told_beside_hard_ones():
    report = examine(case(catalogue(swap=20)), ["mismatch"])
    told = {f.items[0] for f in report.findings}
    true = {f"i{k:03d}" for k in range(20)}
    assert len(told & true) >= 8
    assert len(told - true) <= 4


def test_modalities_that_say_nothing_of_one_another_are_named():
    made = spaces()
    rows = np.random.default_rng(5).permutation(np.asarray(made["b"].vectors))
    lost = {**made, "b": Space.of(rows, made["b"].ids, name="b")}
    report = examine(case(lost), ["mismatch"])
    assert any("next to nothing" in note for note in report.notes)
    assert not report.findings or report.findings[0].precision < 0.9


def test_hardness_is_what_neighbours_have():
    edge = cross(case(catalogue()), ("a", "b"), lambda *_: None)
    lines = edge.crossed
    odds = np.where(edge.rows[0] >= 200, 2.0, -2.0)
    found = hardness(lines, odds, np.concatenate([lines.given, lines.planted()]))
    assert np.corrcoef(found[0], odds)[0, 1] > 0.95
    assert np.corrcoef(found[1], odds)[0, 1] > 0.9  # of a planted pair, too, the left cell's
    alone = np.full_like(lines.voters_left, -1)
    assert np.isfinite(around(alone, lines.votes_left, odds)).all()


@pytest.mark.parametrize(("count", "expected"), [(100, 1), (200, 3), (300, 5), (600, 6)])
def test_parts_have_enough_lines(count, expected):
    given = np.random.default_rng(0).normal(size=count)
    found = parts(given, given)
    assert len(found) == expected
    assert all(mine.sum() >= 63 for mine, _ in found)
    assert sum(mine.sum() for mine, _ in found[1:]) in (0, count)


def test_clean_pairs_give_no_finding():
    assert len(examine(case(spaces()), ["mismatch"]).findings) <= 1


def test_the_share_of_wrong_pairs_is_read_off():
    rng = np.random.default_rng(0)
    planted = rng.normal(3, 1, 4000)
    for share in (0.0, 0.1, 0.4):
        wrong = round(share * 4000)
        given = np.concatenate([rng.normal(3, 1, wrong), rng.normal(-3, 1, 4000 - wrong)])
        assert wrong_share(given, planted) == pytest.approx(share, abs=0.05)


def test_answers_are_those_of_a_full_table(monkeypatch):
    whole = case(spaces(60, swap=6))
    edge = cross(whole, ("a", "b"), lambda *_: None)
    lines = np.arange(len(edge.crossed))
    view = whole.views["b"]
    for line, told in zip(lines, answers(whole, edge, lines), strict=True):
        maps = edge.maps[int(edge.crossed.fold[line])]
        shown = np.asarray(maps["b"].apply(view.reduced))
        shown /= np.linalg.norm(shown, axis=1, keepdims=True)
        found = shown @ edge.crossed.left[line]
        own = edge.rows[1][line]
        assert told.rank == 1 + (np.delete(found, own) > found[own] + 1e-6).sum()
        found[own] = -2
        assert told.row == found.argmax()


def test_a_line_is_placed_by_maps_that_have_not_seen_it():
    """Changing a line's cells leaves the maps of its own fold where they were."""
    made = spaces(80)
    plain = cross(case(made), ("a", "b"), lambda *_: None)
    rows = np.array(made["b"].vectors)
    rows[5] *= -7
    other = cross(
        case({**made, "b": Space.of(rows, made["b"].ids, name="b")}), ("a", "b"), lambda *_: None
    )
    mine = plain.crossed.fold == plain.crossed.fold[5]
    kept = np.abs(plain.crossed.left[mine] - other.crossed.left[mine]).max()
    moved = np.abs(plain.crossed.left[~mine] - other.crossed.left[~mine]).max()
    assert kept < 0.05 < moved or kept < moved / 5


def test_the_gallery_is_bounded(monkeypatch):
    monkeypatch.setattr(crossing, "GALLERY", 20)
    edge = cross(case(spaces(swap=30)), ("a", "b"), lambda *_: None)
    seen = {block.scores.shape[2] for block in edge.crossed.blocks(edge.crossed.given)}
    assert max(seen) == 20
    seen = suspect(edge.crossed)
    assert seen.confidence[:30].mean() > 5 * seen.confidence[30:].mean()


# Twins, duplicates, leaks


def test_copies_are_twins_and_duplicates_and_leak():
    made = spaces(copies=15, hidden=40)
    held = {f"i{k:03d}" for k in range(0, 300, 3)}
    report = examine(case(made, held), ["twin", "duplicate", "leak"])
    true = {(f"copy{k:03d}", f"i{k:03d}") for k in range(15)}
    assert {tuple(sorted(f.items)) for f in report.of("twin")} == true
    by = {(f.modality, tuple(sorted(f.items))) for f in report.of("duplicate")}
    assert by == {(m, couple) for m in ("a", "b", "a+b") for couple in true}
    leaks = {f.items: f for f in report.of("leak")}
    assert set(leaks) == {(i, c) for c, i in true if i in held}
    one = next(iter(leaks.values()))
    assert one.evidence["held_out"] in held
    assert one.evidence["training"] not in held


def test_linked_items_are_no_twins():
    made = spaces(copies=5, hidden=40)
    groups = {f"{kind}{k:03d}": f"g{k}" for k in range(5) for kind in ("i", "copy")}
    report = examine(case(made, groups=groups), ["twin", "duplicate"])
    assert not report.of("twin")
    assert all(f.evidence["linked"] for f in report.of("duplicate"))


def test_equal_cells_are_counted_by_content():
    made = spaces(40)["a"]
    content = np.arange(1, 41, dtype=np.uint64)
    content[:3] = 7
    same = Space(made.ids, made.vectors, made.frame, made.parts, content)
    found = examine(case({"a": same}), ["duplicate"]).findings
    exact = [f for f in found if f.evidence["cells"] == "equal"]
    assert [set(f.items) for f in exact] == [{"i000", "i001", "i002", "i006"}]
    assert exact[0].confidence == 1
    assert exact[0].precision is None


def test_ids_that_differ_in_case_and_zeros_leak():
    made = {
        "a": Space.of(
            np.random.default_rng(0).normal(size=(12, 3)),
            ["cat.png", "Cat", "x-1", "x_01", *map(str, range(100, 108))],
            name="a",
        )
    }
    found = examine(case(made, {"Cat", "x-1"}), ["leak"]).findings
    alike = {f.items for f in found if f.evidence["because"] == "ids alike"}
    assert alike == {("Cat", "cat.png"), ("x-1", "x_01")}  # fmt: skip


def test_a_column_of_small_groups_that_is_torn_leaks():
    made = spaces(copies=100, hidden=40)
    ids = np.unique(made["a"].ids)
    scene = [str(item)[-3:] for item in ids]
    mixed = list(np.random.default_rng(0).permutation(scene))
    whole = case(made, {f"i{k:03d}" for k in range(100)}, columns={"scene": scene, "none": mixed})
    found = [f for f in examine(whole, ["leak"]).findings if "column" in f.evidence]
    assert [f.evidence["column"] for f in found] == ["scene"]


@pytest.mark.parametrize(("ratio", "sure"), [(0, 1), (0.25, 0.5), (10, 0)])
def test_sureness_falls_with_the_ratio(ratio, sure):
    assert sureness(ratio) == pytest.approx(sure, abs=1e-4)


# Rows, spaces, tables


def test_broken_and_odd_rows_are_outliers():
    made = spaces()["a"]
    rows = np.array(made.vectors)
    rows[3] = np.nan
    rows[4] = 0
    rows[5] *= 1000
    broken = Space(made.ids, rows, made.frame)
    found = {f.items[0]: f for f in examine(case({"a": broken}), ["outlier"]).findings}
    assert {"i003", "i004", "i005"} <= set(found)
    assert len(found) <= 5
    assert "NaN" in found["i003"].evidence["because"]
    assert found["i004"].evidence["because"] == "all zero"


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda x: np.where(np.arange(x.shape[1]) < 9, 1.0, x), "constant"),
        (lambda x: x[np.arange(len(x)) % 5], "few distinct"),
        (lambda x: x[:, :1] * np.ones(x.shape[1]) + 1e-3 * x, "one direction"),
        (lambda x: np.ones_like(x), "few distinct"),
    ],
)
def test_dead_encoders_are_told(change, because):
    made = spaces()["a"]
    dead = Space(made.ids, change(np.array(made.vectors)).astype(np.float32), made.frame)
    found = examine(case({"a": dead}), ["encoder"]).findings
    assert any(because in f.evidence["because"] for f in found)
    assert not examine(case({"a": made}), ["encoder"]).findings
    examine(case({"a": dead, "b": spaces()["b"]}))  # nothing else fails on it


def test_missing_that_goes_with_a_label_is_told():
    made = spaces()
    label = ["red" if k % 2 else "blue" for k in range(300)]
    other = [str(v) for v in np.random.default_rng(0).integers(0, 3, 300)]
    keep = np.array([v == "red" or k % 4 == 0 for k, v in enumerate(label)])
    fewer = {"a": made["a"], "b": made["b"].take(keep)}
    found = examine(case(fewer, columns={"colour": label, "other": other}), ["missing"]).findings
    assert [f.evidence["column"] for f in found if "column" in f.evidence] == ["colour"]
    gone = next(f for f in found if f.evidence["because"] == "no cell")
    assert gone.evidence["count"] == (~keep).sum()


def test_permutation_moves_groups_as_wholes():
    """Copies of an item are no further evidence: the p-value stays what one copy gives."""
    rng = np.random.default_rng(3)
    label = np.array(["x", "y"])[rng.integers(0, 2, 16)]
    lacks = (label == "x") & (rng.random(16) < 0.8)
    alone = permuted(list(label), lacks, np.arange(16).astype(str), seed=0)[1]
    each = [np.repeat(v, 10) for v in (label, lacks, np.arange(16).astype(str))]
    tied = permuted(list(each[0]), each[1], each[2], seed=0)[1]
    loose = permuted(list(each[0]), each[1], np.arange(160).astype(str), seed=0)[1]
    assert tied == pytest.approx(alone, abs=0.03)
    assert loose <= tied


def test_imbalance_lists_what_a_cap_leaves_out():
    made = {"a": spaces()["a"]}
    label = ["big"] * 260 + [f"small{k // 4}" for k in range(40)]
    found = [f for f in examine(case(made, columns={"c": label}), ["imbalance"]).findings
             if f.evidence["column"] == "c"]  # fmt: skip
    assert found[0].evidence["t"] == 4
    assert 245 <= len(found[0].items) <= 259
    assert all(int(item[1:]) < 260 for item in found[0].items)


def test_clusters_are_capped_by_their_own_method():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4)) * 0.01 + np.where(np.arange(300) < 260, 0, 1)[:, None] * 9
    rows[260:] += rng.normal(size=(40, 4)) * 5
    made = {"a": Space.of(rows.astype(np.float32), [f"i{k:03d}" for k in range(300)], name="a")}
    plain = examine(case(made, columns={"few": ["x"] * 250 + ["y"] * 50}), ["imbalance"])
    assert {f.evidence["curation"] for f in plain.findings} <= {"entry-cap", "cluster-cap"}
    for one in plain.findings:
        if one.modality:
            assert one.evidence["curation"] == "cluster-cap"
            most = one.evidence["most"][0]["count"]
            assert len(one.items) >= most - one.evidence["t"]


def test_named_labels_are_the_ones_looked_at():
    label = ["big"] * 260 + [f"small{k // 4}" for k in range(40)]
    columns = {"c": label, "d": label}
    found = examine(case({"a": spaces()["a"]}, columns=columns, labels=("d",)), ["imbalance"])
    assert {f.evidence["column"] for f in found.findings if not f.modality} == {"d"}


def test_scripts_and_lengths():
    assert scripts("naïve кот, 猫!") == {"LATIN": 5, "CYRILLIC": 3, "CJK": 1}
    words = [f"a plain caption {k}" for k in range(60)] + ["кошка сидит дома", "x" * 4000]
    made = {"a": spaces(62)["a"]}
    read = {"a": lambda: zip(made["a"].ids.tolist(), words, strict=True)}
    report = examine(case(made, texts=read), ["language", "length"])
    assert [(f.items, f.evidence["script"]) for f in report.of("language")] == [
        (("i060",), "CYRILLIC")
    ]
    assert [f.items for f in report.of("length")] == [("i061",)]


ENGLISH = [
    "a dog runs over the green field number {}",
    "the old man reads his newspaper at {}",
    "children play with a red ball, group {}",
    "she has bought {} apples at the market",
]
FRENCH = ["le chien court dans la grande prairie numéro {}", "un vieil homme lit son journal à {}"]


def test_languages_of_one_script_are_told_apart():
    pytest.importorskip("eld")
    words = [ENGLISH[k % 4].format(k) for k in range(160)] + [
        FRENCH[k % 2].format(k) for k in range(6)
    ]
    made = {"a": spaces(len(words))["a"]}
    read = {"a": lambda: zip(made["a"].ids.tolist(), words, strict=True)}
    report = examine(case(made, texts=read), ["language"])
    (one,) = report.of("language")
    assert one.items == tuple(f"i{k:03d}" for k in range(160, 166))
    assert (one.evidence["language"], one.evidence["most"]) == ("French", "English")
    assert one.confidence == pytest.approx(1 - 0.003 * 166 / 6)
    told = report.facts["language"]["a"]
    assert told["languages"]["French"] == 6
    assert sum(told["languages"].values()) + told["unsure"] == told["read"] == 166
    assert report.notes == ()


def test_without_the_library_scripts_are_told_and_the_note_says_so(monkeypatch):
    monkeypatch.setattr("conjoin.quality.table_checks.installed", lambda: False)
    words = [ENGLISH[k % 4].format(k) for k in range(62)]
    made = {"a": spaces(62)["a"]}
    read = {"a": lambda: zip(made["a"].ids.tolist(), words, strict=True)}
    report = examine(case(made, texts=read), ["language"])
    assert report.findings == ()
    assert any("conjoin[language]" in note for note in report.notes)


def test_neighbours_in_cells_are_nearly_all_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 16))[rng.integers(0, 60, 3000)] + 0.5 * rng.standard_normal(
        (3000, 16)
    )
    x[1500:1600] = x[:100] + 1e-4 * rng.standard_normal((100, 16))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    whole, some = neighbours(x, 10), neighbours(x, 10, exact=0)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(whole, some, strict=True)]) > 9.5
    assert (some[:100, 0] == np.arange(1500, 1600)).all()
    assert (some >= 0).all()
    assert not (some == np.arange(3000)[:, None]).any()
    assert (neighbours(x, 10, exact=0) == some).all()
    # Cells have found them: next to none is held against all rows.
    short = []

    def counted(rows, *given):
        short.extend(rows)
        return nearest(rows, *given)

    monkeypatch.setattr("conjoin.quality.neighbours.nearest", counted)
    neighbours(x, 10, exact=0)
    assert len(short) < 30


def test_rows_that_few_share_a_cell_with_get_their_neighbours_all_the_same():
    x = np.eye(40, dtype=np.float32)
    found = neighbours(x, 30, exact=0)
    assert (found >= 0).all()
    assert all(len(set(row)) == 30 for row in found.tolist())


def test_tokens_are_read_as_their_means():
    made = spaces(40)
    flat = np.repeat(np.asarray(made["a"].vectors), 2, axis=0)
    tokens = Space.of(Tokens(flat, np.arange(0, 81, 2)), made["a"].ids, name="t")
    assert examine(case({"a": tokens, "b": made["b"]})).facts["encoder"]["a"]["tokens"]


def test_leading_directions_are_those_of_eigh():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 60)) * np.geomspace(10, 0.01, 60)
    found = _leading(x.T @ x, 8)
    exact = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :8]
    assert np.abs(found.T @ exact).diagonal() == pytest.approx(np.ones(8), abs=1e-3)


# Reports and faults


def test_a_report_sums_up_in_the_order_of_kinds():
    found = [Finding("leak", ("x",), "a", 0.9, 0.8, {}, "r"),
             Finding("leak", ("y",), "a", 0.6, 0.7, {}, "r")]  # fmt: skip
    told = Report(tuple(found)).to_json()
    one = {"kind": "leak", "count": 2, "items": 2, "precision": 0.7, "at_most": False}
    assert told["summary"] == [{**one, "confidence": 0.9, "remedy": KINDS["leak"]}]
    assert set(told["findings"][0]) == {
        "kind", "items", "modality", "confidence", "precision", "evidence", "remedy", "parts",
    }  # fmt: skip


def test_measured_precision_is_there_for_near_pairs():
    assert {"twin", "duplicate", "leak", "outlier"} <= set(measured())
    assert precision_of("twin", 0.99) is not None
    assert precision_of("mismatch", 0.9) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kinds": ["mismatched"]}, "did you mean mismatch"),
        ({"least": 1.5}, "--min-confidence"),
    ],
)
def test_bad_options_are_refused(change, said):
    with pytest.raises(ConjoinError, match=said):
        examine(case(spaces(30)), **change)


def test_too_few_pairs_are_a_note():
    report = examine(case(spaces(12)))
    assert any("12 pairs" in note for note in report.notes)
    with pytest.raises(ConjoinError, match="conjoin embed"):
        examine(Case({}, None, np.array(["a"])))


# Fixes


def sides(made):
    pairs = Pairs.by_id(made)
    held = np.isin(pairs.group, [stable_hash(f"i{k:03d}") for k in range(10)])
    return pairs.take(~held), pairs.take(held)


def test_dropped_and_moved_pairs():
    made = spaces(40)
    train, held = sides(made)
    told = follow(train, held, made, [
        Decision("i020", "a+b", "mismatch", "drop", other="i020"),
        Decision("i021", "a+b", "mismatch", "fix", other="i021", fix="i022"),
        Decision("i023", "a+b", "mismatch", "fix", other="i023", fix="i003"),
        Decision("i024", "a", "outlier", "drop"),
        Decision("i025", "a+b", "mismatch", "keep", other="i025"),
        Decision("i004", "a+b", "mismatch", "drop", other="i004"),
    ], {})  # fmt: skip
    couples = {(str(made["a"].ids[i]), str(made["b"].ids[j])) for i, j in told.train.rows.tolist()}
    whole = {(f"i{k:03d}", f"i{k:03d}") for k in range(10, 40) if k not in (20, 21, 23, 24)}
    assert couples == whole | {("i021", "i022")}
    assert len(told.held) == 9
    assert (told.dropped, told.moved) == (5, 1)
    assert "held out" in told.notes[0]


def test_a_parted_couple_keeps_its_third_cell():
    made = {**spaces(40), "c": Space.of(np.eye(40), [f"i{k:03d}" for k in range(40)], name="c")}
    train, held = sides(made)
    told = follow(train, held, made,
                  [Decision("i020", "a+b", "mismatch", "drop", other="i020")], {})  # fmt: skip
    at = {name: int(np.flatnonzero(made[name].ids == "i020")[0]) for name in made}
    lines = [row for row in told.train.rows.tolist() if at["c"] == row[2]]
    assert sorted(lines) == sorted([[-1, at["b"], at["c"]], [at["a"], -1, at["c"]]])


def test_linked_groups_do_not_straddle_the_split():
    made = spaces(40)
    train, held = sides(made)
    ties = [Decision("i030", "", "twin", "fix", other="i031"),
            Decision("i032", "", "leak", "fix", other="i002")]  # fmt: skip
    told = follow(train, held, made, ties, {})
    assert len(told.train) == 29
    assert len(np.unique(told.train.group)) == 28
    assert not np.isin(told.train.group, told.held.group).any()


def test_a_couple_is_linked_once_whatever_says_so():
    made = spaces(40)
    ties = [Decision("i030", "", "twin", "fix", other="i031"),
            Decision("i031", "a", "duplicate", "fix", other="i030")]  # fmt: skip
    told = follow(*sides(made), made, ties, {})
    assert told.linked == 1
    assert len(np.unique(told.train.group)) == 29


def test_new_decisions_replace_old_ones():
    old = [Decision("x", "a", "outlier", "drop"), Decision("y", "a", "outlier", "drop")]
    table = merged(old, [Decision("x", "a", "outlier", "keep")])
    assert [(d.id, d.decision) for d in table] == [("x", "keep"), ("y", "drop")]


def test_dropping_everything_is_refused():
    made = spaces(40)
    gone = [Decision(f"i{k:03d}", "", "outlier", "drop") for k in range(10)]
    with pytest.raises(ConjoinError, match="no held-out pair"):
        follow(*sides(made), made, gone, {})
