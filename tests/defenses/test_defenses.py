"""What each defense sends, and what a curious server reads out of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from fl_attack_bench import registry
from fl_attack_bench.api import UPDATE, ClientState, Dense, HorizontalDefense, Layout, Sparse, Update
from fl_attack_bench.codec import decode, encode
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import build

LAYOUT = Layout(("first.weight", "first.bias", "last.weight"), ((40, 30), (40,), (10, 40)))


def make(name: str, **parameters: object) -> HorizontalDefense:
    found = build(registry.find("defense", name).cls, parameters)
    assert isinstance(found, HorizontalDefense)
    return found


def update(seed: int = 0, scale: float = 1.0) -> Update:
    return Update(torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(seed)) * scale, LAYOUT)


def client(seed: int = 0, memory: dict[str, Tensor] | None = None) -> ClientState:
    rng = torch.Generator().manual_seed(seed)
    return ClientState("client/0", 0, 10, rng, memory if memory is not None else {})


# Those that only upload; what others do together has tests of its own.
HORIZONTAL = [
    name for name in registry.names("defense") if issubclass(registry.find("defense", name).cls, HorizontalDefense)
]
UPLOADING = [name for name in HORIZONTAL if make(name).steps == (UPDATE,)]


@pytest.mark.parametrize("name", UPLOADING)
def test_what_the_server_reads_follows_from_the_bytes_alone(name: str) -> None:
    defense = make(name)
    payload = decode(encode(defense.upload(update(), client())))
    seen = defense.read(payload, LAYOUT)
    assert seen.values.shape == seen.sent.shape == (LAYOUT.size,)
    assert not seen.values[~seen.sent].any()


@pytest.mark.parametrize("name", UPLOADING)
def test_the_same_client_and_stream_send_the_same_bytes(name: str) -> None:
    defense = make(name)
    assert encode(defense.upload(update(), client())) == encode(defense.upload(update(), client()))


@pytest.mark.parametrize("name", UPLOADING)
def test_the_server_averages_what_it_reads(name: str) -> None:
    defense = make(name)
    payloads = [decode(encode(defense.upload(update(n), client(n)))) for n in range(3)]
    weights = [0.5, 0.2, 0.3]
    wanted = sum(w * defense.read(p, LAYOUT).values for w, p in zip(weights, payloads, strict=True))
    assert torch.allclose(defense.aggregate(payloads, weights, LAYOUT).flat, torch.as_tensor(wanted), atol=1e-6)


def test_no_defense_sends_the_update_itself() -> None:
    part = make("none").upload(update(), client()).parts["update"]
    assert isinstance(part, Dense)
    assert torch.equal(part.values, update().flat)


@given(st.integers(0, 1000), st.floats(0, 0.999), st.sampled_from(["layer", "model"]))
@settings(max_examples=60, deadline=None)
def test_compression_sends_the_largest_entries_unchanged(seed: int, prune: float, scope: str) -> None:
    part = make("gradient_compression", prune=prune, scope=scope).upload(update(seed), client()).parts["update"]
    assert isinstance(part, Sparse)
    flat = update(seed).flat
    assert torch.equal(part.values, flat[part.indices])
    scopes = LAYOUT.slices.values() if scope == "layer" else [slice(0, LAYOUT.size)]
    kept = torch.zeros(LAYOUT.size, dtype=torch.bool).index_fill(0, part.indices, True)
    for place in scopes:
        size = flat[place].abs()
        count = max(1, round(len(size) * (1 - prune)))
        assert kept[place].sum() == count
        assert size[kept[place]].min() >= size[~kept[place]].max() if count < len(size) else True


def test_residual_sends_everything_in_the_end() -> None:
    defense = make("gradient_compression", prune=0.8, residual=True)
    memory: dict[str, Tensor] = {}
    total = torch.zeros(LAYOUT.size)
    for _ in range(3):
        payload = defense.upload(update(), client(memory=memory))
        total += defense.read(payload, LAYOUT).values
    assert torch.allclose(total + memory["residual"], 3 * update().flat, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "distribution"), [("gaussian_noise", stats.norm(scale=0.3)), ("laplace_noise", stats.laplace(scale=0.3))]
)
def test_noise_has_the_stated_distribution(name: str, distribution) -> None:
    defense = make(name, scale=0.3)
    noise = [defense.read(defense.upload(update(), client(n)), LAYOUT).values - update().flat for n in range(12)]
    assert stats.kstest(torch.cat(noise).numpy(), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("name", "order"), [("gaussian_noise", 2), ("laplace_noise", 1)])
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_clipping_bounds_the_norm_and_leaves_small_updates_alone(name: str, order: int, scale: float) -> None:
    defense = make(name, scale=1e-9, clip=2.0)
    before = update(scale=scale)
    after = defense.read(defense.upload(before, client()), LAYOUT).values
    norm = float(before.flat.norm(p=order))
    assert float(after.norm(p=order)) == pytest.approx(min(norm, 2.0), rel=1e-3)
    assert torch.allclose(after / after.norm(), before.flat / before.flat.norm(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gradient_compression", {"prune": 1.0}),
        ("gradient_compression", {"prune": -0.1}),
        ("gradient_compression", {"scope": "everything"}),
        ("gaussian_noise", {"scale": 0.0}),
        ("gaussian_noise", {"scale": "0.1"}),
        ("laplace_noise", {"clip": -1.0}),
    ],
)
def test_illegal_parameters_are_refused_by_name(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        make(name, **parameters)
