"""Triggers: what they mark, who carries them, who is drawn, and what makes a backdoor meaningless."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.data import datasets
from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.data.trigger import carriers, clean, labelled, marked, poison, stamped
from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.vertical import Backdoor, Trigger

quick = settings(max_examples=80, deadline=None)
CORNER = Trigger(pixels=[(25, 27), (27, 25), (26, 26), (27, 27)])
LOWER = torch.arange(14 * 28, 28 * 28)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def toy(samples=60, tests=40, classes=4, shape=(1, 28, 28)):
    numbers = rng(9)
    return Dataset(
        name="toy",
        x_train=torch.rand(samples, *shape, generator=numbers) * 0.9,
        y_train=torch.arange(samples) % classes,
        x_test=torch.rand(tests, *shape, generator=numbers) * 0.9,
        y_test=torch.arange(tests) % classes,
        classes=classes,
        fingerprint="",
    )


def table():
    """A table whose last place is 0 or 1; ten training and eight test samples carry the 1."""
    data = toy(shape=(1, 1, 6))
    for rows, ones in ((data.x_train, 10), (data.x_test, 8)):
        rows[..., -1] = 0
        rows[:ones, ..., -1] = 1
    return data


NATURAL = Backdoor(target=0, trigger=Trigger(features=[5], natural=True))
LAST = torch.tensor([4, 5])


def refused(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_pixels_are_row_and_column_on_every_channel():
    assert marked(CORNER, (1, 28, 28)).tolist() == [25 * 28 + 27, 26 * 28 + 26, 27 * 28 + 25, 27 * 28 + 27]
    assert marked(Trigger(pixels=[(1, 0), (0, 2), (1, 0)]), (2, 2, 3)).tolist() == [2, 3, 8, 9]
    assert marked(Trigger(features=[7, 3, 7]), (2, 2, 3)).tolist() == [3, 7]


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        (Trigger(pixels=[(0, 0), (28, 3)]), "pixel [28, 3] lies outside of the image; the last one is [27, 27]"),
        (Trigger(pixels=[(3, 28)]), "pixel [3, 28] lies outside"),
        (Trigger(features=[3, 784]), "feature 784 does not exist; the last one is 783"),
        (Trigger(features=[10**30]), f"feature {10**30} does not exist"),
    ],
)
def test_marks_outside_of_the_sample_are_refused(trigger, says):
    for call in (marked, lambda trigger, shape: stamped(torch.zeros(2, *shape), trigger)):
        assert says in refused(call, trigger, (1, 28, 28))


@quick
@given(st.data())
def test_stamping_changes_the_marked_places_of_a_copy_and_nothing_else(data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    size = shape[0] * shape[1] * shape[2]
    value = data.draw(st.floats(0, 1))
    if data.draw(st.booleans()):
        trigger = Trigger(features=data.draw(st.lists(st.integers(0, size - 1), min_size=1)), value=value)
        touched = set(trigger.features)
    else:
        pixel = st.tuples(st.integers(0, shape[1] - 1), st.integers(0, shape[2] - 1))
        trigger = Trigger(pixels=data.draw(st.lists(pixel, min_size=1)), value=value)
        touched = {(c * shape[1] + row) * shape[2] + column for row, column in trigger.pixels for c in range(shape[0])}
    images = torch.rand(data.draw(st.integers(0, 4)), *shape)
    before = images.clone()
    copies = stamped(images, trigger)
    assert torch.equal(images, before)
    for place in range(size):
        wanted = torch.full((len(images),), value) if place in touched else images.flatten(1)[:, place]
        assert torch.equal(copies.flatten(1)[:, place], wanted)
    assert carriers(copies, trigger).tolist() == list(range(len(images)))


def test_an_image_with_channels_last_in_memory_is_stamped_like_any_other():
    images = torch.rand(2, 3, 4, 5)
    trigger = Trigger(pixels=[(1, 2)])
    assert torch.equal(stamped(images.to(memory_format=torch.channels_last), trigger), stamped(images, trigger))


def test_carriers_have_the_value_at_all_marked_places_up_to_rounding():
    images = torch.zeros(6, 1, 1, 4)
    images[1, ..., [0, 3]] = 0.7
    images[2, ..., 3] = 0.7
    images[4, ..., [0, 3]] = 0.7 + 9e-7
    images[5, ..., [0, 3]] = 0.7 + 3e-6
    assert carriers(images, Trigger(features=[3, 0], value=0.7)).tolist() == [1, 4]


@quick
@given(st.floats(0.02, 1), st.floats(0.05, 1), st.integers(0, 3), st.integers(0, 2**31))
def test_what_is_stamped_and_what_measures_the_success(train, test, target, seed):
    data = toy()
    before = data.x_train.clone(), data.x_test.clone()
    backdoor = Backdoor(target=target, trigger=CORNER, train=train, test=test)
    try:
        found = poison(data, backdoor, LOWER, rng(seed))
    except UserError as error:
        assert f"target class {target}" in str(error)  # noqa: PT017 - a few test samples may all be of the target class
        return
    assert torch.equal(data.x_train, before[0])
    assert torch.equal(data.x_test, before[1])
    assert len(found.poisoned) == round(train * 60)
    assert (found.poisoned.diff() > 0).all()
    assert carriers(found.images, CORNER).tolist() == found.poisoned.tolist()
    unchanged = torch.ones(60, dtype=torch.bool)
    unchanged[found.poisoned] = False
    assert torch.equal(found.images[unchanged], data.x_train[unchanged])
    assert torch.equal(found.images[found.poisoned], stamped(data.x_train[found.poisoned], CORNER))
    assert target not in found.triggered_labels.tolist()
    assert torch.equal(found.triggered_labels, data.y_test[found.test_ids])
    assert torch.equal(found.triggered, stamped(data.x_test[found.test_ids], CORNER))
    assert (found.test_ids.diff() > 0).all()
    assert len(found.test_ids) <= round(test * 40)
    again = poison(data, backdoor, LOWER, rng(seed))
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in vars(found))


def test_the_draw_is_over_all_classes_and_of_the_seed():
    data = toy()
    draws = [poison(data, Backdoor(target=0, trigger=CORNER, train=0.5), LOWER, rng(seed)) for seed in range(5)]
    assert len({tuple(draw.poisoned.tolist()) for draw in draws}) == 5
    assert all(data.y_train[draw.poisoned].unique().tolist() == [0, 1, 2, 3] for draw in draws)
    # A test share of 1 takes every test sample but those of the target class.
    assert draws[0].test_ids.tolist() == [at for at in range(40) if at % 4]


def test_a_greater_share_adds_to_a_smaller_one_and_leaves_the_other_draw_alone():
    data = toy()
    few, many = (
        poison(data, Backdoor(target=0, trigger=CORNER, train=train, test=0.5), LOWER, rng()) for train in (0.1, 0.4)
    )
    assert set(few.poisoned.tolist()) < set(many.poisoned.tolist())
    assert few.test_ids.tolist() == many.test_ids.tolist()


def test_a_natural_trigger_finds_its_carriers_and_stamps_nothing():
    data = table()
    found = poison(data, NATURAL, LAST, rng())
    assert found.images is data.x_train
    assert found.poisoned.tolist() == list(range(10))
    assert found.test_ids.tolist() == [1, 2, 3, 5, 6, 7]
    assert found.triggered_labels.tolist() == [1, 2, 3, 1, 2, 3]
    assert torch.equal(found.triggered, data.x_test[found.test_ids])


def test_a_backdoor_that_means_nothing_is_refused():
    data, corner = toy(), Backdoor(target=0, trigger=CORNER, train=0.1)
    assert "target 4 is no class of toy; its classes run from 0 to 3" in refused(
        poison, data, corner.model_copy(update={"target": 4}), LOWER, rng()
    )
    numbers = replace(data, y_train=torch.rand(60), y_test=torch.rand(40), classes=1)
    assert "the targets of toy are numbers" in refused(poison, numbers, corner, LOWER, rng())
    upper = torch.arange(14 * 28)
    assert "the malicious party does not hold pixel [25, 27]" in refused(poison, data, corner, upper, rng())
    feature = Backdoor(target=0, trigger=Trigger(features=[0, 3]))
    assert "the malicious party does not hold feature 0" in refused(poison, table(), feature, LAST, rng())
    outside = Backdoor(target=0, trigger=Trigger(pixels=[(28, 0)]))
    assert "pixel [28, 0] lies outside" in refused(poison, data, outside, LOWER, rng())
    for part, samples in (("train", 60), ("test", 40)):
        small = Backdoor(target=0, trigger=CORNER, **{"train": 0.1, part: 0.004})
        text = refused(poison, data, small, LOWER, rng())
        assert f"{part}=0.004 of {samples} samples is less than one" in text
    only = replace(data, y_test=torch.zeros(40, dtype=torch.int64))
    text = refused(poison, only, corner, LOWER, rng())
    assert "all 40 test samples that carry the trigger are of the target class 0" in text


def test_natural_carriers_that_are_missing_are_named_by_their_part():
    for part in ("train", "test"):
        data = table()
        getattr(data, f"x_{part}")[..., -1] = 0
        word = {"train": "training", "test": "test"}[part]
        assert f"none of the {word} samples carries the value 1" in refused(poison, data, NATURAL, LAST, rng())
    data = table()
    data.y_test[:8] = 0
    text = refused(poison, data, NATURAL, LAST, rng())
    assert "all 8 test samples that carry the trigger are of the target class 0" in text
    assert "another trigger" in text


@quick
@given(st.lists(st.integers(0, 3), min_size=1, max_size=50), st.data(), st.integers(0, 2**31))
def test_clean_samples_are_of_the_target_and_not_poisoned(labels, data, seed):
    poisoned = data.draw(st.sets(st.integers(0, len(labels) - 1)))
    target, count = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 10))
    legal = {at for at, label in enumerate(labels) if label == target and at not in poisoned}
    arguments = torch.tensor(labels), torch.tensor(sorted(poisoned), dtype=torch.int64), target, count
    if count > len(legal):
        text = refused(clean, *arguments, rng(seed))
        assert f"target class {target} has {len(legal)} clean training samples, and {count} were asked for" in text
        return
    found = clean(*arguments, rng(seed))
    assert set(found.tolist()) <= legal
    assert len(set(found.tolist())) == count
    assert torch.equal(found, clean(*arguments, rng(seed)))


@quick
@given(st.lists(st.integers(0, 2), min_size=1, max_size=50), st.integers(0, 6), st.integers(0, 2**31))
def test_labelled_samples_are_so_many_of_each_class(labels, per_class, seed):
    counts = [labels.count(label) for label in range(3)]
    if per_class > min(counts):
        short = next(label for label, count in enumerate(counts) if count < per_class)
        text = refused(labelled, torch.tensor(labels), 3, per_class, rng(seed))
        assert f"class {short} has {counts[short]} training samples, and the labels of {per_class}" in text
        return
    found = labelled(torch.tensor(labels), 3, per_class, rng(seed))
    assert found.dtype == torch.int64
    assert sorted(labels[at] for at in found.tolist()) == sorted(list(range(3)) * per_class)
    assert len(set(found.tolist())) == 3 * per_class
    assert torch.equal(found, labelled(torch.tensor(labels), 3, per_class, rng(seed)))


def test_known_samples_are_drawn_at_random():
    labels = torch.zeros(100, dtype=torch.int64)
    none = torch.zeros(0, dtype=torch.int64)
    assert len({int(clean(labels, none, 0, 1, rng(seed))) for seed in range(20)}) > 10
    assert len({tuple(labelled(labels, 1, 2, rng(seed)).tolist()) for seed in range(20)}) > 15


@pytest.mark.shared
def test_the_paper_s_trigger_on_real_images(shared_data):
    data = datasets.load("npz:mnist", shared_data)
    assert not len(carriers(data.x_train, CORNER))
    backdoor = Backdoor(target=0, trigger=CORNER, train=600 / 60_000, test=100 / 10_000)
    found = poison(data, backdoor, LOWER, rng())
    assert len(found.poisoned) == 174
    assert 80 <= len(found.triggered) < 100
