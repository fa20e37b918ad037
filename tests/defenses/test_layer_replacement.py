"""The replaced layer: its numbers, and that nothing else changes."""

import pytest
import torch

from fl_attack_bench import registry
from fl_attack_bench.api import ClientState, HorizontalDefense, Layout, LocalPlan, SkipCell, Update
from fl_attack_bench.method import build

LAYOUT = Layout(("conv.weight", "conv.bias", "dense.weight"), ((100, 99), (100,), (50,)))


def replacing(**parameters: str) -> HorizontalDefense:
    found = build(registry.find("defense", "layer_replacement").cls, parameters)
    assert isinstance(found, HorizontalDefense)
    return found


@pytest.mark.parametrize(("distribution", "variance", "kurtosis"), [("gaussian", 1.0, 3.0), ("laplace", 2.0, 6.0)])
def test_the_layer_holds_numbers_of_the_distribution(distribution: str, variance: float, kurtosis: float) -> None:
    defense = replacing(distribution=distribution)
    client = ClientState("client/0", 0, 1, torch.Generator().manual_seed(1))
    update = Update(torch.full((LAYOUT.size,), 7.0), LAYOUT)
    seen = defense.read(defense.upload(update, client), LAYOUT)
    drawn = seen.values[:10_000].double()
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.var()) - variance) < 0.1 * variance
    assert abs(float((drawn**4).mean() / drawn.var() ** 2) - kurtosis) < 0.15 * kurtosis
    assert (seen.values[10_000:] == 7).all()
    assert (update.flat == 7).all()
    known = defense.interpret(seen, LAYOUT, LocalPlan(1, 1, 1, 0.1))
    assert known.noise[:10_000].isinf().all()
    assert (known.noise[10_000:] == 0).all()


def test_layers_are_chosen_by_name() -> None:
    assert LAYOUT.chosen("dense").tolist() == [False] * 10_000 + [True] * 50
    assert LAYOUT.chosen("conv+dense").all()
    assert LAYOUT.chosen("all").all()
    assert torch.equal(LAYOUT.chosen("first"), ~LAYOUT.chosen("dense"))
    with pytest.raises(SkipCell, match="no layer 'pool'; legal: all, first, conv, dense"):
        LAYOUT.chosen("pool")
