"""Ten clients' encrypted updates of LeNet-5: seconds to encrypt, add and decrypt, bytes against plain float32.

Encryption and decryption are of one client, as each client does its own; the addition is the server's, of all ten
uploads, with reading them from their bytes. Everything runs on one thread: SEAL does not divide this work. Beside the
seconds stand those of CPU, which a busy machine does not change much.
"""

import statistics
import time

import pytest
import torch

from fl_attack_bench import models
from fl_attack_bench.crypto.homomorphic import Encryptor, Homomorphic
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

CLIENTS = 10
ROUNDS = 3
HEAD = (
    "scheme  setting             seconds, median (of CPU): encrypt   add 10        decrypt         bytes up  a number"
    "  x float32    error   stated"
)
SETTINGS = {
    "54+54 bits": {},
    "48+60 bits": {"coefficient_bits": (48, 60), "scale_bits": 36},
    "N=8192, 54+60 bits": {"ring_size": 8192, "coefficient_bits": (54, 60)},
}


@pytest.fixture(scope="module")
def updates() -> torch.Tensor:
    network = models.build(Model(name="lenet5"), (1, 28, 28), 10, torch.Generator().manual_seed(1))
    size = Layout.of(network).size
    assert size == 61_706
    return 2 * torch.rand(CLIENTS, size, generator=torch.Generator().manual_seed(2)) - 1


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_sum_of_ten_lenets(benchmark, updates: torch.Tensor, scheme: str, setting: str) -> None:
    parameters = Homomorphic(scheme, **SETTINGS[setting])
    keys = parameters.keys()
    client, server = Encryptor(parameters, keys.secret), Encryptor(parameters, keys.public)
    seconds: dict[str, list[tuple[float, float]]] = {"encrypt": [], "add": [], "decrypt": []}
    messages: list[tuple[bytes, ...]] = []
    result: list[torch.Tensor] = []

    def timed(name: str, work):
        began, used = time.perf_counter(), time.process_time()
        done = work()
        seconds[name].append((time.perf_counter() - began, time.process_time() - used))
        return done

    def play() -> None:
        messages[:] = [timed("encrypt", lambda each=each: client.encrypt(each, CLIENTS)) for each in updates]
        total = timed("add", lambda: server.add(messages))
        result[:] = [timed("decrypt", lambda: client.decrypt(total, updates.shape[1]))]

    benchmark.pedantic(play, rounds=ROUNDS, warmup_rounds=1)
    expected = updates.double().sum(0)
    error = float((result[0] - expected).abs().max())
    stated = parameters.error(CLIENTS) + 2**-24 * float(expected.abs().max())
    sent = sum(map(len, messages[0]))
    kept = {name: values[len(values) // (ROUNDS + 1) :] for name, values in seconds.items()}  # without the warm-up
    middle = {
        name: tuple(statistics.median(column) for column in zip(*pairs, strict=True)) for name, pairs in kept.items()
    }
    shown = "  ".join(f"{wall:.4f} ({cpu:.4f})" for wall, cpu in middle.values())
    benchmark.extra_info |= {**middle, "bytes": sent, "expansion": sent / (4 * updates.shape[1]), "error": error}
    print(f"\n{HEAD}")
    print(
        f"{scheme:6}  {setting:18}         {shown}  {sent:9,}  {sent / updates.shape[1]:8.2f}  "
        f"{sent / (4 * updates.shape[1]):9.2f}  {error:.1e}  {stated:.1e}"
    )
    assert error <= min(stated, 1e-4)
