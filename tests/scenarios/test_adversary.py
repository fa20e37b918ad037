"""Malicious clients in a federation: whom they may replace, and what becomes of updates that no longer fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from test_horizontal import Plain, model, samples, training

from fl_attack_bench import registry
from fl_attack_bench.api import ActiveAttack, Card, Contribution, HorizontalDefense, Party, Round
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.horizontal import Adversary, Trained, train
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Iid
from fl_attack_bench.wire import client

CARD = Card(title="test", paper="https://example.org", threat="malicious clients")


def trained(attack: ActiveAttack, defense: HorizontalDefense | None = None) -> Trained:
    devices = [samples(10, seed=n) for n in range(4)]
    setting = training(partition=Iid(kind="iid", devices=4), rounds=2)
    return train(
        setting,
        model(),
        devices,
        samples(5),
        defense or Plain(),
        Streams(0),
        adversary=Adversary(attack, 2, Streams(1)),
    )


@dataclass(frozen=True)
class Grasping(ActiveAttack):
    card = CARD

    def corrupt(
        self, parties: Mapping[str, Party], round: Round, defense: Mapping[str, Any], rng: torch.Generator
    ) -> Mapping[str, Party]:
        assert set(parties) == {client(0), client(1)}
        return {**parties, client(3): parties[client(0)]}


def test_an_attack_replaces_its_own_clients_only() -> None:
    with pytest.raises(UserError, match="corrupt must return the clients that it was given"):
        trained(Grasping())


@dataclass(frozen=True)
class Exploding(ActiveAttack):
    card = CARD

    def poison(self, contribution: Contribution, rng: torch.Generator) -> Contribution:
        update = contribution.update
        return Contribution(update.with_flat(update.flat * 1e30), contribution.statistics, contribution.samples)


def test_what_does_not_fit_is_not_sent_and_noted() -> None:
    sharing = build(registry.find("defense", "additive_sharing").cls, {})
    assert isinstance(sharing, HorizontalDefense)
    found = trained(Exploding(), sharing)
    assert len(found.failures) == 2
    assert "of 4 clients sent a complete sum" in found.failures[0]
    assert "client/0: sends nothing: layer 'classifier.weight'" in " ".join(found.incidents)
    assert torch.equal(found.weights, model().weights)
