"""Encoding and decoding of what the parties send, for updates of LeNet-5 (61,706 entries) and VGG-16 (14.7 million).

Beside the seconds stand bytes of the frame a second. The payloads are those of the defenses: float32 in full; a
hundredth and a half of the entries, which the codec writes as gaps and as a bitmap; words of the ring Z_2^64; one
Shamir share, elements of the field below 2^31 - 1; and ciphertexts, as many bytes as CKKS at its defaults makes of the
update, random here: to the codec they are just bytes.
"""

from functools import cache

import pytest
import torch
from measured import repeated
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench import models
from fl_attack_bench.codec import Dense, Payload, Sparse, decode, encode
from fl_attack_bench.crypto.homomorphic import Encryptor, Homomorphic
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

NETWORKS = {"lenet5": (1, 28, 28), "vgg16": (3, 32, 32)}
FORMS = ("dense", "gaps", "bitmap", "ring", "field", "ciphertext")


@cache
def entries(network: str) -> int:
    built = models.build(Model(name=network), NETWORKS[network], 10, torch.Generator().manual_seed(1))
    return Layout.of(built).size


def ciphertext_bytes(size: int) -> int:
    scheme = Homomorphic("ckks")
    (one,) = Encryptor(scheme, scheme.keys().public).encrypt(torch.zeros(scheme.slots), 1)
    return scheme.count(size) * len(one)


def payload(form: str, size: int) -> Payload:
    draw = torch.Generator().manual_seed(2)
    if form == "dense":
        return Payload.dense(torch.randn(size, generator=draw))
    if form in ("gaps", "bitmap"):
        kept = size // (100 if form == "gaps" else 2)
        places = torch.randperm(size, generator=draw)[:kept].sort().values
        return Payload({"update": Sparse(places, torch.randn(kept, generator=draw), size)})
    if form == "ciphertext":
        values = torch.randint(256, (ciphertext_bytes(size),), generator=draw, dtype=torch.uint8)
        return Payload({"ciphertexts": Dense(values)})
    low, high = (-(2**63), 2**63 - 1) if form == "ring" else (0, 2**31 - 1)
    return Payload({form: Dense(torch.randint(low, high, (size,), generator=draw))})


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_encoding(benchmark: BenchmarkFixture, way: str, form: str, network: str) -> None:
    made = payload(form, entries(network))
    frame = encode(made)
    benchmark.group = f"{way}, {network}"
    repeated(benchmark, (lambda: encode(made)) if way == "encode" else (lambda: decode(frame)))
    benchmark.extra_info["frame_bytes"] = len(frame)
    if benchmark.stats:  # none where benchmarks are switched off
        benchmark.extra_info["bytes_per_second"] = len(frame) / benchmark.stats["median"]
