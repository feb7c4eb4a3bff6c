"""Each task's protocol on planted data: what it asks, and the leaks it refuses."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from benches import CLASSES, bench
from conjoin.alignment.closed_form.linear import CCA, Identity, Procrustes
from conjoin.alignment.unpaired import Matching
from conjoin.catalogue import find
from conjoin.claims import engine
from conjoin.claims.tasks.alignment.cross_lingual import CrossLingual
from conjoin.claims.tasks.alignment.domain_shift import DomainShift
from conjoin.claims.tasks.alignment.kway import KWay
from conjoin.claims.tasks.alignment.metric_tracking import (
    Case,
    Followed,
    Tracking,
    measured,
    plan,
    spearman,
    validation,
)
from conjoin.claims.tasks.alignment.multi_view import AddedLater, Bridged, ManyToMany, refuse_joined
from conjoin.claims.tasks.alignment.unpaired import Unpaired, disorder, nameless, refuse_order, told
from conjoin.claims.tasks.decision.cross_modal_transfer import Transfer, augmented, trained_head
from conjoin.claims.tasks.decision.zero_shot import (
    ZeroShot,
    held_classes,
    labels_of,
    refuse_seen,
    refuse_tested,
)
from conjoin.errors import ConjoinError, FrameError
from conjoin.evaluation.arms import Arm, Made, make, run_arm
from conjoin.evaluation.benchmark import Bench, Setting
from conjoin.evaluation.retrieval import Prefix, Retrieval, directions
from conjoin.metrics.measurement import Measurement
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT

THREE = ("image", "text", "speech")


def fitted(task, planted, arm="procrustes", seed=0):
    setting = task.setting(planted, seed)
    return setting, task.fit(setting, make(Arm.parse(arm), setting, {}), seed)


# Retrieval: prefixes, augmentations, split groups


def test_a_prefix_keeps_the_first_coordinates_at_unit_length():
    planted = bench("image", "text", noise=0.7)
    setting, binding = fitted(Retrieval(), planted, "cca")
    cut = Prefix(binding, 3).bind("image", setting.spaces["image"])
    whole = binding.bind("image", setting.spaces["image"])
    assert cut.vectors.shape[1] == cut.frame.dim == 3
    assert cut.frame != whole.frame
    np.testing.assert_array_equal(cut.vectors, whole.vectors[:, :3])
    found = {
        dims: Retrieval(prefix=dims).judge(setting, binding)["mrr"].values.mean()
        for dims in (1, 3, 8, 500)
    }
    assert found[1] < found[3] < found[8] == found[500]
    np.testing.assert_array_equal(
        Retrieval(prefix=8).judge(setting, binding)["mrr"].values,
        Retrieval().judge(setting, binding)["mrr"].values,
    )


def test_an_augmentation_that_would_be_left_out_is_refused():
    with pytest.raises(ConjoinError, match="an augmentation"):
        run_arm(Retrieval(), bench("image", "text"), Arm("cca", "noise"), "mrr", 0, {})


# Bridged and added later


def test_bridged_ends_share_no_line_no_group_and_no_item():
    setting = Bridged().setting(bench(*THREE, kin=2), 0)
    assert setting.train.names == ("text", "image", "speech")
    left, right = (setting.train.column(name) != ABSENT for name in ("image", "speech"))
    assert left.any()
    assert right.any()
    assert not (left & right).any()
    assert not np.intersect1d(setting.train.group[left], setting.train.group[right]).size
    one, other = (
        set(setting.spaces[name].ids[setting.train.column(name)[live]])
        for name, live in (("image", left), ("speech", right))
    )
    assert not one & other
    assert setting.ways == (("image", "speech"), ("speech", "image"))


def test_bridged_settings_are_chosen_by_paired_views_only():
    inside = Bridged().setting(bench(*THREE), 0).inner(0)
    assert {frozenset(way) for way in inside.ways} == {
        frozenset(("image", "text")), frozenset(("text", "speech"))
    }  # fmt: skip


def test_a_line_or_group_that_joins_the_ends_is_refused():
    lines = Pairs(("b", "a", "c"), np.array([[0, 0, -1], [1, -1, 1]]))
    refuse_joined(lines, "a", "c")
    both = lines.join(Pairs(("a", "c"), np.array([[2, 2]]), group=np.array([9])))
    with pytest.raises(ConjoinError, match="a line holds a and c"):
        refuse_joined(both, "a", "c")
    with pytest.raises(ConjoinError, match="a group is seen"):
        refuse_joined(replace(lines, group=np.array([5, 5])), "a", "c")
    refuse_joined(replace(lines, group=np.array([5, 5])), "a", "c", groups=False)


def test_two_views_cannot_be_bridged():
    with pytest.raises(ConjoinError, match="name three"):
        Bridged().setting(bench("image", "text"), 0)
    with pytest.raises(ConjoinError, match="no view"):
        Bridged(bridge="txt").setting(bench(*THREE), 0)


def test_what_is_added_later_moves_nothing():
    task = AddedLater(pairs=30)
    setting, binding = fitted(task, bench(*THREE))
    near, far, new = setting.train.names
    assert (near, far, new) == ("text", "image", "speech")
    assert int((setting.train.column(new) != ABSENT).sum()) == 30
    before = Procrustes().fit(
        {name: setting.spaces[name].vectors for name in (near, far)},
        setting.train.select((near, far)), seed=0,
    )  # fmt: skip
    x = setting.spaces["image"].vectors[:5]
    expected = before["image"].apply(x)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(binding.maps["image"].apply(x), expected, atol=1e-5)


def test_a_aligner_that_moves_what_is_frozen_is_refused():
    @dataclass(frozen=True)
    class Moves(Procrustes):
        def fit(self, views, pairs, *, frames=None, frozen=None, seed=0):
            made = super().fit(views, pairs, frames=frames or {}, frozen=frozen or {}, seed=seed)
            for item in (frozen or {}).values():
                item.maps[0].bias[:] += 1
            return made

    task, planted = AddedLater(), bench(*THREE)
    setting = task.setting(planted, 0)
    with pytest.raises(ConjoinError, match="a fitted map changed"):
        task.fit(setting, Made(Moves(), None, "text"), 0)


# Many-to-many and k-way


def test_every_part_is_a_partner_of_every_part():
    planted = bench("image", "text", parts=3)
    setting = ManyToMany().setting(planted, 0)
    for query, target in directions(setting):
        wanted = setting.bed.relevance(query, target)
        assert set(wanted.counts) == {3}
        assert wanted.n_items == len(setting.bed.rows[target])
    with pytest.raises(ConjoinError, match="no held-out row has two partners"):
        ManyToMany().setting(bench("image", "text"), 0)


def slow_kway(setting, binding, product):
    """Ranks of the third view's rows, candidate by candidate."""
    lines = setting.bed.test
    ranks = []
    for target in lines.names:
        one, other = [name for name in lines.names if name != target]
        rows = setting.bed.rows[target]
        z = binding.bind(target, setting.spaces[target].take(rows)).vectors
        order = np.unique(
            np.stack([lines.column(one), lines.column(other), lines.column(target)], 1), axis=0
        )
        for i, j, k in order:
            x = binding.bind(one, setting.spaces[one].take(np.array([i]))).vectors[0]
            y = binding.bind(other, setting.spaces[other].take(np.array([j]))).vectors[0]
            score = [(x * y * c).sum() if product else x @ y + x @ c + y @ c for c in z]
            own = score[int(np.flatnonzero(rows == k)[0])]
            ranks.append(1 + sum(s > own for s in score))
    return np.array(ranks)


@pytest.mark.parametrize("rule", ["sum", "product"])
def test_two_views_ask_by_sum_or_product(rule):
    planted = bench(*THREE, noise=1.5, items=60)
    task = KWay(score=rule)
    setting, both = fitted(task, planted, "cca")
    assert both.product == (rule == "product")
    expected = slow_kway(setting, both.binding, rule == "product")
    found = task.judge(setting, both)["mrr"].values
    assert np.mean(np.isclose(found, 1 / expected)) > 0.98
    assert 0.1 < found.mean() < 1


def test_the_product_is_for_methods_trained_on_it():
    @dataclass(frozen=True)
    class Together(CCA):
        together: bool = True

    setting = KWay().setting(bench(*THREE), 0)
    assert KWay().fit(setting, Made(Together(), None, "image"), 0).product
    assert not KWay().fit(setting, Made(CCA(), None, "image"), 0).product


# Classes


def test_unseen_classes_are_the_same_for_every_seed_and_never_trained_on():
    planted = bench("image", "text", kin=2)
    task = ZeroShot(unseen=0.3)
    settings = [task.setting(planted, seed) for seed in (0, 1)]
    assert settings[0].classes == settings[1].classes == held_classes(CLASSES, 0.3)
    for setting in settings:
        for name in setting.train.names:
            ids = setting.spaces[name].ids[setting.train.column(name)]
            assert not {planted.labels[i] for i in ids} & set(setting.classes)
        asked = labels_of(setting.spaces["image"].take(setting.bed.rows["image"]), planted)
        assert set(asked) == set(setting.classes)
        everyone = [i for i, label in planted.labels.items() if label in setting.classes]
        assert len(setting.bed.rows["image"]) == len(everyone)
        inside = setting.inner(0)
        assert len(inside.classes) == 2
        assert not set(inside.classes) & set(setting.classes)


def test_a_training_line_of_an_unseen_class_is_refused():
    planted = bench("image", "text")
    setting = ZeroShot(unseen=0.3).setting(planted, 0)
    refuse_seen(setting.train, setting.spaces, setting.classes, planted)
    with pytest.raises(ConjoinError, match="unseen class"):
        refuse_seen(planted.pairs, setting.spaces, setting.classes, planted)
    relabelled = replace(planted, labels={**planted.labels, "item000": "boat"})
    line = planted.pairs.take(np.array([0]))
    with pytest.raises(ConjoinError, match="item000 is of an unseen class"):
        refuse_seen(line, planted.spaces, ["boat"], relabelled)


def test_a_training_line_of_a_tested_group_is_refused():
    planted = bench("image", "text", kin=2)
    line = planted.pairs.take(np.flatnonzero(planted.spaces["image"].ids[
        planted.pairs.column("image")] == "item001"))  # fmt: skip
    refuse_tested(line, planted.spaces, ["item002"], planted)
    with pytest.raises(ConjoinError, match="item001 is tested"):
        refuse_tested(line, planted.spaces, ["item000"], planted)


def test_balanced_accuracy_counts_classes():
    planted = bench("image", "text", noise=2.0)
    few = {i: "bird" if n % 3 else label for n, (i, label) in enumerate(planted.labels.items())}
    planted = replace(planted, labels=few)
    setting, binding = fitted(ZeroShot(), planted)
    scores = ZeroShot().judge(setting, binding)
    labels = labels_of(setting.spaces["image"].take(setting.bed.rows["image"]), planted)
    right = scores["accuracy"].values
    by_class = [right[labels == label].mean() for label in np.unique(labels)]
    assert scores["balanced"].values.mean() == pytest.approx(np.mean(by_class))
    assert scores["balanced"].values.mean() != pytest.approx(right.mean())


def test_classes_need_names_and_labels():
    planted = bench("image", "text")
    with pytest.raises(ConjoinError, match="no names"):
        ZeroShot().setting(replace(planted, names={}), 0)
    with pytest.raises(ConjoinError, match="named classes"):
        ZeroShot().setting(replace(planted, labels={}), 0)
    with pytest.raises(ConjoinError, match="two classes"):
        Transfer().setting(replace(planted, labels={}), 0)
    with pytest.raises(ConjoinError, match="leave two"):
        ZeroShot(unseen=0.9).setting(planted, 0)


def test_the_head_never_sees_the_view_it_is_tested_on():
    planted = bench("image", "text")
    task = Transfer()
    setting = task.setting(planted, 0)
    made = make(Arm("procrustes"), setting, {})
    before = task.judge(setting, task.fit(setting, made, 0))["accuracy"].values
    rows = setting.bed.rows["image"]
    wild = setting.spaces["image"].vectors.copy()
    wild[rows] = wild[rows[::-1]]
    spaces = {**setting.spaces, "image": replace(setting.spaces["image"], vectors=wild)}
    other = replace(setting, bed=replace(setting.bed, spaces=spaces))
    head, same = task.fit(setting, made, 0), task.fit(other, made, 0)
    np.testing.assert_array_equal(head.model.coef_, same.model.coef_)
    assert task.judge(other, same)["accuracy"].values.mean() < before.mean()


def test_labels_of_the_tested_items_do_not_reach_the_head():
    planted = bench("image", "text")
    task = Transfer()
    setting = task.setting(planted, 0)
    tested = setting.spaces["image"].ids[setting.bed.rows["image"]]
    wrong = {i: CLASSES[(CLASSES.index(c) + 1) % 6] for i, c in planted.labels.items()}
    lied = replace(planted, labels={**planted.labels, **{str(i): wrong[str(i)] for i in tested}})
    made = make(Arm("procrustes"), setting, {})
    one, two = (task.fit(replace(setting, bench=b), made, 0) for b in (planted, lied))
    np.testing.assert_array_equal(one.model.coef_, two.model.coef_)
    assert task.judge(replace(setting, bench=lied), two)["accuracy"].values.mean() < 0.15


@pytest.mark.parametrize("name", ["noise", "fusemix", "c3", "covariance-noise"])
def test_every_augmentation_trains_a_head(name):
    planted = bench("image", "text")
    task = Transfer()
    found = run_arm(task, planted, Arm("procrustes", name), "accuracy", 0, {}).scores
    plain = run_arm(task, planted, Arm("procrustes"), "accuracy", 0, {}).scores
    assert found["accuracy"].values.mean() > 0.6
    np.testing.assert_array_equal(found["accuracy"].groups, plain["accuracy"].groups)


def test_mixtures_count_in_each_of_their_classes():
    lines = Pairs.of(text=np.arange(6), image=np.arange(6))
    views = {name: np.eye(6, dtype=np.float32) for name in ("text", "image")}
    y = np.array([0, 0, 1, 1, 2, 2])
    mix = find("augmentation", "fusemix").make()
    x, own, weight = augmented(mix, views, lines, y, "text", 0)
    assert weight.sum() == pytest.approx(4 * 6)
    assert set(own) == {0, 1, 2}
    assert not np.array_equal(x[:6], x[-6:])
    again = augmented(mix, views, lines, y, "text", 0)[0]
    np.testing.assert_array_equal(x, again)


def test_a_heads_penalty_does_not_depend_on_copies():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    y = (x[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
    one = trained_head(x, y, np.ones(60), 10.0)
    four = trained_head(np.tile(x, (4, 1)), np.tile(y, 4), np.ones(240), 10.0)
    np.testing.assert_allclose(one.coef_, four.coef_, atol=1e-3)


# Languages


def test_rank_variance_is_zero_where_languages_agree_and_minus_one_by_chance():
    planted = bench("image", "text", "de", "fr", noise=0.01)
    spaces = dict(planted.spaces)
    for name in ("de", "fr"):
        order = {i: row for row, i in enumerate(spaces[name].ids)}
        rows = np.array([order[i] for i in spaces["text"].ids])
        spaces[name] = spaces[name].take(rows)
    noisy = spaces["text"].vectors + np.random.default_rng(0).normal(
        0, 2, spaces["text"].vectors.shape
    ).astype(np.float32)
    spaces |= {
        name: Space.of(noisy, spaces["text"].ids, name=name) for name in ("text", "de", "fr")
    }
    same = Bench("same", spaces, Pairs.by_id(spaces), planted.groups)
    setting, binding = fitted(CrossLingual(), same, "cca")
    scores = CrossLingual().judge(setting, binding)
    assert 0.1 < scores["recall@10"].values.mean() < 0.99
    assert scores["rank-variance"].values.mean() == pytest.approx(0, abs=2e-3)
    assert CrossLingual().chance(setting)["rank-variance"].values.mean() == pytest.approx(-1)


def test_the_scale_of_rank_variance_is_that_of_random_ranks():
    planted = bench("image", "text", "de", "fr")
    setting, binding = fitted(CrossLingual(), planted, "identity")
    found = CrossLingual().judge(setting, binding)["rank-variance"].values
    rows = setting.bed.rows["image"]
    n, ranks = len(rows), []
    for name in ("text", "de", "fr"):
        asked = binding.bind(name, setting.spaces[name].take(setting.bed.rows[name]))
        shown = binding.bind("image", setting.spaces["image"].take(rows))
        scores = asked.vectors @ shown.vectors.T
        own = {i: r for r, i in enumerate(shown.ids)}
        rank = [(s > s[own[i]]).sum() + 1 for s, i in zip(scores, asked.ids, strict=True)]
        ranks.append([rank[k] for k in np.argsort(asked.ids)])
    variance = np.array(ranks, dtype=float).var(axis=0)
    np.testing.assert_allclose(found, -variance / ((n**2 - 1) / 12 * 2 / 3), rtol=1e-6)


def test_two_languages_are_needed():
    with pytest.raises(ConjoinError, match="languages beside image"):
        CrossLingual().setting(bench("image", "text"), 0)


# Another style


def test_the_other_style_is_asked_and_never_trained_on():
    planted = bench("image", "drawing", "text")
    task = DomainShift()
    setting, through = fitted(task, planted)
    assert setting.train.names == ("image", "text")
    assert set(directions(setting)) == {("drawing", "text"), ("text", "drawing")}
    assert set(directions(setting.inner(0))) == {("image", "text"), ("text", "image")}
    trained = set(setting.spaces["image"].ids[setting.train.column("image")])
    assert not trained & set(setting.spaces["drawing"].ids[setting.bed.rows["drawing"]])
    x = setting.spaces["drawing"]
    np.testing.assert_array_equal(
        through.bind("drawing", x).vectors, through.binding.bind("image", x).vectors
    )


def test_two_encoders_are_no_shift_of_style():
    with pytest.raises(FrameError, match="two encoders"):
        DomainShift(source="image", target="speech", text="text").setting(bench(*THREE), 0)
    with pytest.raises(ConjoinError, match="name two views of one encoder"):
        DomainShift().setting(bench(*THREE), 0)


# Unpaired


def test_a_aligner_gets_nothing_that_links_rows():
    planted = bench("image", "text")
    setting = Unpaired().setting(planted, 0)
    assert len(setting.train) == 0
    orders = disorder(setting.truth, 0)
    space = nameless(setting.spaces["image"], orders["image"])
    assert not set(space.ids) & set(planted.spaces["image"].ids)
    assert not space.content.any()
    assert space.provenance == ()
    assert not np.isin(orders["image"], setting.bed.rows["image"]).any()


def test_rows_in_the_same_order_are_refused():
    setting = Unpaired().setting(bench("image", "text"), 0)
    truth = setting.truth
    refuse_order(disorder(truth, 0), truth)
    with pytest.raises(ConjoinError, match="partners in the same place"):
        refuse_order({name: truth.column(name) for name in truth.names}, truth)


def test_seeds_are_told_in_the_new_numbers():
    setting = Unpaired(seeds=9).setting(bench("image", "text"), 0)
    assert len(setting.train) == 9
    orders = disorder(setting.truth, 0)
    lines = told(setting.train, orders)
    for name in lines.names:
        np.testing.assert_array_equal(orders[name][lines.column(name)], setting.train.column(name))


def test_methods_that_need_pairs_run_only_with_seeds():
    planted = bench("image", "text")
    with pytest.raises(ConjoinError, match="give seeds"):
        run_arm(Unpaired(), planted, Arm("procrustes"), "recall@10", 0, {})
    found = run_arm(Unpaired(seeds=40), planted, Arm("procrustes"), "recall@10", 0, {}).scores
    assert found["recall@10"].values.mean() > 0.95
    assert found["matched"].values.mean() > 0.95


def test_a_pairless_method_finds_the_planted_match():
    planted = bench("image", "text", items=300, noise=0.01)
    setting = Unpaired().setting(planted, 0)
    binding = Unpaired().fit(setting, Made(Matching(dims=32, rows=500), None, "image"), 0)
    scores = Unpaired().judge(setting, binding)
    assert scores["matched"].values.mean() > 0.9
    assert scores["recall@10"].values.mean() > 0.9


def test_settings_without_pairs_are_chosen_without_pairs():
    task, planted = Unpaired(seeds=40), bench("image", "text")
    setting, good = fitted(task, planted)
    bad = task.fit(setting, Made(Identity(), None, "image"), 0)
    inside = setting.inner(0)
    values = [task.judge(inside, one)["recall@10"].values.mean() for one in (good, bad)]
    assert values[0] > values[1]
    scrambled = replace(inside, truth=replace(
        inside.truth, rows=np.stack([inside.truth.rows[:, 0], inside.truth.rows[::-1, 1]], 1)
    ))  # fmt: skip
    assert task.judge(scrambled, good)["matched"].values.mean() == pytest.approx(values[0])


# Tracking


def content(views):
    return b"".join(x.tobytes() for x in views.values())


@dataclass(frozen=True)
class Oracle:
    """A measure that looks up what it is to foretell."""

    recalls: dict
    higher_is_better: bool = True
    views = 2
    many = paired = shared = False
    range = (-1.0, 1.0)
    invariances = frozenset()
    name = meaning = "oracle"

    def __call__(self, views):
        value = self.recalls[content(views)]
        signed = value if self.higher_is_better else -value
        return Measurement("o", signed, None, None, 1, self.range, self.higher_is_better, "O.")


@pytest.mark.parametrize("over", ["bindings", "encoders"])
@pytest.mark.parametrize("up", [True, False])
def test_a_measure_that_knows_tracks_perfectly(over, up):
    views = ("image", "text") if over == "bindings" else ("image", "text", "de", "fr", "speech")
    planted = bench(*views, noise=1.0, items=120)
    if over == "encoders":
        spaces = dict(planted.spaces)
        rng = np.random.default_rng(1)
        for place, name in enumerate(views):
            shape = spaces[name].vectors.shape
            worse = spaces[name].vectors + place * rng.normal(size=shape).astype(np.float32)
            spaces[name] = replace(spaces[name], vectors=worse)
        planted = replace(planted, spaces=spaces)
    task = Tracking(over=over)
    setting = task.setting(planted, 0)
    cases = task.fit(setting, Made(Identity(), None, "image"), 0).cases
    recalls = np.array([case.recall for case in cases])
    assert len(np.unique(recalls)) > 3
    known = {content(c.views): c.recall for c in cases}
    values = np.array([measured(Oracle(known, up), case) for case in cases])
    scores = task.judge(setting, Followed(values, cases))["spearman"].values
    np.testing.assert_allclose(scores, 1.0)
    blind = task.judge(setting, Followed(-recalls, cases))["spearman"].values
    np.testing.assert_allclose(blind, -1.0)


def test_units_average_to_the_correlation_and_vary_as_its_jackknife():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    cases = tuple(Case({}, r, (f"recipe{i % 5}",)) for i, r in enumerate(y))
    task = Tracking()
    values = task.judge(object.__new__(Setting), Followed(x, cases))["spearman"].values
    assert values.mean() == pytest.approx(spearman(x, y))
    apart = [spearman(np.delete(x, i), np.delete(y, i)) for i in range(20)]
    np.testing.assert_allclose(values - values.mean(), 19 * (np.mean(apart) - np.array(apart)))
    jackknife = 19 / 20 * np.sum((np.array(apart) - np.mean(apart)) ** 2)
    assert values.var(ddof=1) / 20 == pytest.approx(jackknife)


def test_encoders_are_left_out_with_all_their_couples():
    views = ("image", "text", "de", "fr", "speech")
    planted = bench(*views, noise=1.0, items=120)
    task = Tracking(over="encoders")
    found = run_arm(task, planted, Arm("cka"), "spearman", 0, {}).scores["spearman"]
    assert len(found.values) == len(np.unique(found.groups)) == 5
    with pytest.raises(ConjoinError, match="encoders"):
        task.setting(bench(*THREE), 0)


def test_measured_rows_are_neither_fitted_to_nor_tested():
    planted = bench("image", "text", kin=2)
    setting = Tracking().setting(planted, 0)
    learn, held = validation(setting, 0)
    assert not np.intersect1d(learn.group, held.group).size
    leaked = replace(setting, bed=replace(setting.bed, test=held))
    with pytest.raises(ConjoinError, match="trained on and tested"):
        validation(leaked, 0)


def test_only_measures_of_vectors_track():
    setting = Tracking().setting(bench("image", "text"), 0)
    for arm in ("cca", "mrr"):
        with pytest.raises(ConjoinError, match="no measure of vectors"):
            Tracking().fit(setting, make(Arm(arm), setting, {}), 0)
    nothing = Tracking().fit(setting, make(Arm("identity"), setting, {}), 0)
    assert Tracking().judge(setting, nothing)["spearman"].values.tolist() == [0.0] * len(
        plan(setting)
    )


def test_views_of_two_widths_are_not_centred_onto_each_other():
    planted = bench("image", "text")
    wide = planted.spaces["image"]
    rows = np.hstack([wide.vectors, np.zeros((len(wide), 2), np.float32)])
    spaces = {**planted.spaces, "image": Space.of(rows, wide.ids, name="wide")}
    setting = Tracking().setting(replace(planted, spaces=spaces), 0)
    labels = {recipe[0] for recipe, _ in plan(setting)}
    assert "mean-centering" not in labels
    assert "cca" in labels
    cases = Tracking().fit(setting, Made(Identity(), None, "image"), 0).cases
    assert len(cases) == len(plan(setting))
    assert len(Tracking().chance(setting)["spearman"].values) == len(cases)


def test_a_measure_is_an_arm():
    assert Arm("cka").row.kind == "metric"
    assert Arm("cca").row.kind == "aligner"
    assert Arm("cca", "noise").row.kind == "augmentation"
    with pytest.raises(ConjoinError, match="did you mean"):
        assert Arm("procrustez").row


def test_scores_kept_with_a_metric_are_of_its_own_units(tmp_path, monkeypatch):
    planted = bench("image", "text")
    monkeypatch.setattr(engine, "open_bench", lambda _: planted)
    store = engine.Store(tmp_path)
    for metric, other in (("recall@10", "matched"), ("matched", "recall@10")):
        job = engine.Job("unpaired", (), "planted", metric, "identity")
        engine._run(store, job, planted, 0, {})
        arrays, _ = store.read(job, 0)
        assert len(arrays[metric]) == len(arrays["groups"])
        assert other not in arrays
