"""CryptoNets: a network is applied to encrypted samples by a party that cannot open them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fl_attack_bench.api import (
    COMPUTE,
    OWNER,
    Card,
    CodecError,
    Endpoint,
    Entering,
    Holding,
    Layer,
    OutsourcedDefense,
    Payload,
    Plan,
    ProtocolParty,
    SkipCell,
    dense,
)
from fl_attack_bench.crypto.homomorphic import BadCiphertext
from fl_attack_bench.crypto.homomorphic_network import HomomorphicNetwork, finished, packing
from fl_attack_bench.crypto.packed_ciphertexts import NotEvaluable, PackedEvaluator, PackedOwner, Packing
from fl_attack_bench.crypto.ring import RangeError

_KEYS, _SAMPLES, _ANSWERS = "keys", "samples", "answers"


@dataclass(frozen=True)
class CryptoNets(OutsourcedDefense):
    """Inference under homomorphic encryption (Gilad-Bachrach et al. 2016): squares in place of activations.

    The owner encrypts, one ciphertext for each feature of up to N/2 samples; the compute party, which has the network
    in the clear, multiplies by weights, adds and squares; the owner decrypts and applies the last activation.

    Args:
        ring_size: N, degree of the polynomial modulus: 4096, 8192, 16384 or 32768. A batch of more than N/2 samples is
            sent in several parts, and one of fewer costs as much as N/2. At 128-bit security 4096 has room for a linear
            layer alone, 8192 for two squares, 16384 for five, 32768 for thirteen.
    """

    card = Card(
        title="CryptoNets",
        paper="https://proceedings.mlr.press/v48/gilad-bachrach16.html",
        threat="curious compute party",
        assumes="The compute party has the network, learned in the clear on data that it may see, and follows the "
        "protocol: nobody checks what it computed. Predictions stay with the owner of the samples: who shows others "
        "decrypted CKKS numbers with their last digits helps them to the key (Li and Micciancio 2021).",
        notes="CKKS in place of YASHE', whose assumption has been attacked since (Albrecht et al. 2016), by SEAL "
        "through TenSEAL's low-level binding. Activations before the last become squares and are learned so. Samples "
        "are encrypted under the secret key and sent as a seed and one polynomial. Answers tell the owner the "
        "predictions before the last activation, and their noise depends on the weights. An output that could be too "
        "large for its ciphertext is refused before anything is evaluated. SEAL is never seeded, or all ciphertexts "
        "would share their noise: two runs differ in the last digits of predictions.",
    )
    trains: ClassVar[bool] = False
    model_holder: ClassVar[str] = COMPUTE[0]

    ring_size: Literal[4096, 8192, 16384, 32768] = 8192

    def layers(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Every activation but the last becomes the square; a layer without one is left alone."""
        *inner, last = layers
        squared = [
            layer if layer.activation == "none" else layer.model_copy(update={"activation": "square"})
            for layer in inner
        ]
        return [*squared, last]

    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """The owner of the samples and the party with the network."""
        try:
            parameters = packing(plan.layers, self.ring_size)
        except NotEvaluable as error:
            raise SkipCell(str(error)) from None
        return {
            OWNER: partial(_Owner, plan=plan, parameters=parameters),
            COMPUTE[0]: partial(_Computing, plan=plan, parameters=parameters),
        }


class _Silent(ProtocolParty):
    """What both have in common: nothing is learned."""

    def __init__(self, endpoint: Endpoint, holding: Holding, plan: Plan, parameters: Packing) -> None:
        self.endpoint, self.holding, self.plan, self.parameters = endpoint, holding, plan, parameters

    async def step(self, rows: Tensor) -> None:
        """Refuse."""
        raise SkipCell(f"a network cannot be learned on ciphertexts here, not even of {len(rows)} samples")

    async def weights(self) -> None:
        """Nobody is given the network."""


class _Owner(_Silent):
    async def setup(self) -> None:
        """Make keys; those for squares go to the compute party."""
        self._owner = PackedOwner(self.parameters)
        if self.parameters.relinearised:
            self.endpoint.send(COMPUTE[0], Payload.dense(self._owner.evaluation_keys(), _KEYS))

    async def predict(self, samples: int, features: Tensor | None) -> Tensor:
        """Encrypt, send, open what comes back."""
        if features is None or features.shape != (samples, *self.plan.inputs):
            raise ValueError(f"{samples} samples of shape {self.plan.inputs} are to be predicted")
        parts = features.flatten(1).split(self.parameters.slots)
        for part in parts:
            self.endpoint.send(COMPUTE[0], Payload.dense(self._owner.encrypt(part), _SAMPLES))
        opened = [self._open(await self.endpoint.receive(COMPUTE[0]), len(part)) for part in parts]
        return finished(self.plan.layers, torch.cat(opened))

    def _open(self, payload: Payload, samples: int) -> Tensor:
        rows = dense(payload, _ANSWERS, torch.uint8)
        try:
            return self._owner.decrypt(rows, samples, self.plan.outputs)
        except BadCiphertext as error:
            raise CodecError(f"{COMPUTE[0]}: {error}") from error


class _Computing(_Silent):
    async def setup(self) -> None:
        """Take the keys for squares."""
        if self.holding.weights is None:
            raise ValueError(f"{self.endpoint.name} has no network to evaluate")
        keys = torch.zeros(0, 0, dtype=torch.uint8)
        if self.parameters.relinearised:
            keys = dense(await self.endpoint.receive(OWNER), _KEYS, torch.uint8)
        try:
            evaluator = PackedEvaluator(self.parameters, keys)
        except BadCiphertext as error:
            raise CodecError(f"{OWNER}: {error}") from error
        try:
            self._network = HomomorphicNetwork(self.plan.layers, self.holding.weights, evaluator)
        except RangeError as error:
            raise SkipCell(str(error)) from None

    async def predict(self, samples: int, features: Tensor | None) -> None:
        """Evaluate the network on each part of the batch."""
        del features
        for _ in range(0, samples, self.parameters.slots):
            rows = dense(await self.endpoint.receive(OWNER), _SAMPLES, torch.uint8)
            try:
                answers = self._network.evaluate(rows)
            except BadCiphertext as error:
                raise CodecError(f"{OWNER}: {error}") from error
            self.endpoint.send(OWNER, Payload.dense(answers, _ANSWERS))
