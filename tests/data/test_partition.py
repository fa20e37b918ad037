"""Partitions: what every device holds, whatever the labels are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.data import datasets
from fl_attack_bench.data.partition import deal, reused
from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.horizontal import Dirichlet, Iid, Shards

quick = settings(max_examples=60, deadline=None)
label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(torch.tensor)
random_seeds = st.integers(0, 2**31)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def same(left, right):
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@quick
@given(label_lists, st.integers(1, 12), st.integers(0, 10), random_seeds)
def test_iid(labels, devices, per_device, seed):
    partition = Iid(kind="iid", devices=devices, per_device=per_device or None)
    if devices * max(per_device, 1) > len(labels):
        with pytest.raises(UserError, match=f"devices={devices}"):
            deal(partition, labels, rng(seed))
        return
    parts = deal(partition, labels, rng(seed))
    assert [len(part) for part in parts] == [per_device or len(labels) // devices] * devices
    assert len(set(torch.cat(parts).tolist())) == sum(map(len, parts))
    assert reused(parts) == 0


@quick
@given(label_lists, st.integers(1, 12), st.integers(1, 4), st.integers(1, 8), random_seeds)
def test_shards(labels, devices, classes, per_class, seed):
    partition = Shards(kind="shards", devices=devices, classes=classes, per_class=per_class)
    sizes = labels.bincount()
    if classes > int((sizes > 0).sum()) or per_class > int(sizes[sizes > 0].min()):
        with pytest.raises(UserError, match="partition shards"):
            deal(partition, labels, rng(seed))
        return
    parts = deal(partition, labels, rng(seed))
    assert len(parts) == devices
    for part in parts:
        assert len(set(part.tolist())) == len(part) == classes * per_class
        held = labels[part].bincount()
        assert held[held > 0].tolist() == [per_class] * classes
    times = torch.bincount(torch.cat(parts), minlength=len(labels))
    for label in labels.unique():
        mine = times[labels == label]
        # Unused samples first: nothing is dealt a second time while another was not dealt once.
        assert int(mine.max() - mine.min()) <= 1
    assert reused(parts) == int((times > 1).sum())


@quick
@given(label_lists, st.integers(1, 12), st.floats(1e-3, 1e3), random_seeds)
def test_dirichlet(labels, devices, alpha, seed):
    partition = Dirichlet(kind="dirichlet", devices=devices, alpha=alpha)
    if devices > len(labels):
        with pytest.raises(UserError, match=f"devices={devices}"):
            deal(partition, labels, rng(seed))
        return
    parts = deal(partition, labels, rng(seed))
    assert len(parts) == devices
    assert min(map(len, parts)) >= 1
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))


@pytest.mark.parametrize("alpha", [1e-300, 1e-5, 1e300])
def test_dirichlet_at_the_ends_of_alpha(alpha):
    parts = deal(Dirichlet(kind="dirichlet", devices=4, alpha=alpha), torch.arange(400) % 10, rng())
    assert sum(map(len, parts)) == 400


def test_alpha_sets_how_uneven_it_is():
    labels = torch.arange(5000) % 10

    def spread(alpha):
        parts = deal(Dirichlet(kind="dirichlet", devices=10, alpha=alpha), labels, rng())
        return torch.stack([labels[part].bincount(minlength=10).float() for part in parts]).std()

    assert spread(0.1) > spread(1) > spread(100)


@pytest.mark.parametrize(
    "partition",
    [
        Iid(kind="iid", devices=7),
        Shards(kind="shards", devices=7, classes=2, per_class=5),
        Dirichlet(kind="dirichlet", devices=7, alpha=0.5),
    ],
)
def test_the_generator_is_the_only_randomness(partition):
    labels = torch.arange(200) % 10
    state = torch.get_rng_state()
    first = deal(partition, labels, rng(5))
    torch.rand(3)
    assert same(first, deal(partition, labels, rng(5)))
    assert not same(first, deal(partition, labels, rng(6)))
    torch.set_rng_state(state)
    deal(partition, labels, rng(5))
    assert torch.equal(state, torch.get_rng_state())
    assert all(part.dtype == torch.int64 for part in first)


@pytest.mark.parametrize(
    ("partition", "says"),
    [
        (Iid(kind="iid", devices=3, per_device=40), "devices=3 with per_device=40 need more than the 100"),
        (Iid(kind="iid", devices=101), "devices=101"),
        (Shards(kind="shards", devices=3, classes=11, per_class=1), "classes=11.* have 10"),
        (Shards(kind="shards", devices=3, classes=2, per_class=11), "per_class=11, but class 0 has 10"),
        (Dirichlet(kind="dirichlet", devices=101, alpha=1), "devices=101.* 100 training"),
    ],
)
def test_impossible_partitions_name_their_values(partition, says):
    with pytest.raises(UserError, match=says):
        deal(partition, torch.arange(100) % 10, rng())


def test_no_sample_twice_on_as_many_as_mnist_has():
    labels = torch.arange(60_000) % 10
    parts = deal(Shards(kind="shards", devices=100, classes=2, per_class=100), labels, rng())
    assert reused(parts) == 0


@pytest.mark.shared
def test_the_small_mnist_is_reused_across_devices_only(shared_data):
    labels = datasets.load("npz:mnist", shared_data).y_train
    parts = deal(Shards(kind="shards", devices=100, classes=2, per_class=100), labels, rng())
    assert all(len(part.unique()) == 200 for part in parts)
    # 20,000 places for 17,435 samples.
    assert 20_000 - 17_435 <= reused(parts) < 6_000


def test_numbers_are_dealt_iid_only():
    numbers = torch.rand(20)
    assert [len(part) for part in deal(Iid(kind="iid", devices=4), numbers, rng())] == [5] * 4
    for partition in (
        Shards(kind="shards", devices=2, classes=1, per_class=1),
        Dirichlet(kind="dirichlet", devices=2, alpha=1),
    ):
        with pytest.raises(UserError, match=f"partition {partition.kind} deals by classes, .* take kind iid"):
            deal(partition, numbers, rng())
