"""Several defenses as one: each acts on what the one before lets be read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api import (
    Bytes,
    Card,
    Certificate,
    ClientState,
    Collector,
    Contribution,
    Exchange,
    Exposure,
    Guarantee,
    HorizontalDefense,
    Layout,
    LocalPlan,
    LocalStep,
    Observation,
    Party,
    Payload,
    Returned,
    Round,
    Top,
    Update,
    VerticalDefense,
)
from fl_attack_bench.errors import UserError


@dataclass(frozen=True)
class Chain(HorizontalDefense):
    """Defenses that act one after the other; the last one's upload is what is sent.

    A link before the last must send something that reads as an update: one that aggregates in a way of its own (shares,
    ciphertexts) can only stand last. Local gradients pass through all links; the certificate is the first that a link
    states.

    Args:
        links: two or more, in the order in which they act.

    Raises:
        UserError: a link that must stand last does not.
    """

    card = Card(title="Chain", paper="https://arxiv.org/abs/1602.05629", threat="its links' threats together")
    links: tuple[HorizontalDefense, ...] = ()

    def __post_init__(self) -> None:
        for link in self.links[:-1]:
            own = type(link)
            if own.aggregate is not HorizontalDefense.aggregate or own.member is not HorizontalDefense.member:
                name = type(link).__name__
                raise UserError(f"{name} aggregates in a way of its own, so in a chain it can only stand last")

    @property
    def parameters(self) -> dict[str, Any]:
        """Each link's parameters by its place and name."""
        return {f"{n}. {type(link).__name__}": link.parameters for n, link in enumerate(self.links, start=1)}

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        """Through every link."""
        for link in self.links:
            gradient = link.local_gradient(gradient, step)
        return gradient

    def upload(self, update: Update, client: ClientState) -> Payload:
        """What the last link sends of what the others let be read."""
        return self._upload(len(self.links) - 1, self._passed(update, client), client)

    def _passed(self, update: Update, client: ClientState) -> Update:
        """What the links before the last let be read of an update."""
        for place, link in enumerate(self.links[:-1]):
            payload = self._upload(place, update, client)
            update = Update(link.read(payload, update.layout).values, update.layout)
        return update

    def _upload(self, place: int, update: Update, client: ClientState) -> Payload:
        """One link's upload; what it keeps on the client stands under its place in the chain."""
        mark = f"{place}."
        own = {key.removeprefix(mark): kept for key, kept in client.memory.items() if key.startswith(mark)}
        payload = self.links[place].upload(update, replace(client, memory=own))
        client.memory.update({mark + key: kept for key, kept in own.items()})
        return payload

    @property
    def protocol(self) -> Mapping[str, Any]:
        """That of the last link."""
        return self.links[-1].protocol

    @property
    def steps(self) -> tuple[str, ...]:
        """Those of the last link."""
        return self.links[-1].steps

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """The last link's client, who contributes what the others let be read."""
        last = self.links[-1]
        if type(last).member is HorizontalDefense.member:
            return super().member(contribution, client, round)
        return last.member(replace(contribution, update=self._passed(contribution.update, client)), client, round)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The last link's server."""
        return self.links[-1].collector(round, memory)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """As the last link is read."""
        return self.links[-1].read(payload, layout)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """Every link's contribution in the reverse of the order in which they acted.

        What acts on local gradients acts before every upload, wherever it stands in the chain.
        """
        acted = sorted(self.links, key=lambda link: type(link).local_gradient is HorizontalDefense.local_gradient)
        for link in reversed(acted):
            observation = link.interpret(observation, layout, local)
        return observation

    def aggregate(self, payloads: Sequence[Payload], weights: Sequence[float], layout: Layout) -> Update:
        """As the last link aggregates."""
        return self.links[-1].aggregate(payloads, weights, layout)

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """That of the last link; of a plain upload, what it makes of what the others let be read."""
        last = self.links[-1]
        if type(last).member is HorizontalDefense.member:
            return super().traffic(layout, statistics, clients)
        return last.traffic(layout, statistics, clients)

    def guarantee(self, exposure: Exposure) -> Guarantee | None:
        """The strongest that a link gives, against the server: what other links do to an upload is post-processing.

        Whoever sees the models only has no better bound here. Other links act on each upload by itself, so the models
        are no function of the noisy sum that amplification by sampling is about.
        """
        given = [found for link in self.links if (found := link.guarantee(exposure)) is not None]
        if not given:
            return None
        best = min(given, key=lambda found: math.inf if found.epsilon_server is None else found.epsilon_server)
        if best.epsilon_server is None:
            return best
        statement = f"{best.statement} In a chain the server's epsilon holds against everybody."
        return replace(best, statement=statement, epsilon_model=best.epsilon_server)

    def certify(self, step: LocalStep) -> Certificate | None:
        """The first one that a link states."""
        stated = (link.certify(step) for link in self.links)
        return next((certificate for certificate in stated if certificate is not None), None)


@dataclass(frozen=True)
class VerticalChain(VerticalDefense):
    """Defenses that act one after the other.

    Embeddings and gradients pass through all links; the top model is that of the one link that brings one.

    Args:
        links: two or more, in the order in which they act.

    Raises:
        UserError: two links bring a top model.
    """

    card = Card(title="Chain", paper="https://arxiv.org/abs/2007.03608", threat="its links' threats together")
    links: tuple[VerticalDefense, ...] = ()

    def __post_init__(self) -> None:
        own = [type(link).__name__ for link in self.links if type(link).top is not VerticalDefense.top]
        if len(own) > 1:
            raise UserError(f"{own[0]} and {own[1]} both bring a top model: a chain takes one")

    @property
    def parameters(self) -> dict[str, Any]:
        """Each link's parameters by its place and name."""
        return {f"{n}. {type(link).__name__}": link.parameters for n, link in enumerate(self.links, start=1)}

    def top(self, parties: int, width: int, classes: int, rng: torch.Generator) -> Top | None:
        """The top model that a link brings."""
        tops = (link.top(parties, width, classes, rng) for link in self.links)
        return next((top for top in tops if top is not None), None)

    def incoming(self, embeddings: Tensor, exchange: Exchange) -> Tensor:
        """Through every link."""
        for place, link in enumerate(self.links):
            with _own(exchange, place) as own:
                embeddings = link.incoming(embeddings, own)
        return embeddings

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        """Through every link."""
        for place, link in enumerate(self.links):
            with _own(exchange, place) as own:
                returned = link.outgoing(returned, own)
        return returned


@contextmanager
def _own(exchange: Exchange, place: int) -> Iterator[Exchange]:
    """The exchange as one link sees it: what the link keeps stands under its place in the chain."""
    mark = f"{place}."
    memory = {key.removeprefix(mark): kept for key, kept in exchange.memory.items() if key.startswith(mark)}
    own = replace(exchange, memory=memory)
    yield own
    for key in [key for key in exchange.memory if key.startswith(mark)]:
        del exchange.memory[key]
    exchange.memory.update({mark + key: kept for key, kept in own.memory.items()})
