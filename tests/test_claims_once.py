"""What every arm of a task shares is made once, and anew for another cut of the data."""

from dataclasses import replace

import numpy as np

from benches import bench
from conjoin.evaluation.benchmark import whole_setting
from conjoin.evaluation.memo import cut_of, once


def test_what_arms_share_is_made_once_a_cut():
    whole = whole_setting(bench("image", "text"))
    half = whole.with_train(whole.train.take(np.arange(len(whole.train)) % 2 == 0))
    made = []

    @once(2)
    def shared(setting, seed):
        made.append((len(setting.train), seed))
        return len(made)

    assert shared(whole, 0) == shared(replace(whole), 0) == 1
    assert (shared(half, 0), shared(half, 1)) == (2, 3)  # the first is dropped
    assert (shared(half, 0), shared(whole, 0)) == (2, 4)
    assert made == [(len(whole.train), 0), (len(half.train), 0), (len(half.train), 1), made[0]]


def test_a_cut_is_told_by_its_data_and_both_sets_of_lines():
    whole = whole_setting(bench("image", "text"))
    fewer = replace(whole, bed=replace(whole.bed, test=whole.bed.test.take(np.arange(3))))
    other = whole_setting(bench("image", "text", name="other"))
    cuts = [cut_of(one) for one in (whole, fewer, whole.inner(0), other)]
    assert len(set(cuts)) == 4
    assert cut_of(replace(whole)) == cuts[0]
