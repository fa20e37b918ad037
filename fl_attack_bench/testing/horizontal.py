"""What a horizontal defense must keep: its stream alone, its client's data alone, a mean, and bytes that are told."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from fl_attack_bench import communication, hardware
from fl_attack_bench.aggregation import RoundFailed, Stopwatch
from fl_attack_bench.api import (
    UPDATE,
    ClientState,
    Exposure,
    HorizontalDefense,
    LocalPlan,
    LocalStep,
    Message,
    Payload,
    Sparse,
    Update,
)
from fl_attack_bench.codec import Dense, decode, encode
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.scenarios.horizontal import Client, LocalWork, Server, play_round
from fl_attack_bench.seeds import Streams
from fl_attack_bench.testing import federation
from fl_attack_bench.testing.federation import CLIENTS, SMALL, Played, play, updates
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject
from fl_attack_bench.wire import SERVER, Wire, client
from fl_attack_bench.worker import reset

EXACT = 1e-5  # relative; float32 sums of a few clients agree to within it
_SAME_MEAN = 1e-4  # relative; of protocols whose fresh keys carry noise of their own
_LARGE = 2.0
_SMALL = 0.5
_UNEVEN = 0.05  # relative; how far the lengths of uploads may lie apart that depend on the data
_STATISTICS = 6
_ROUNDS = 3


def upload(subject: Subject) -> str:
    """What a client sends is a payload, and where it holds an update, one of all entries."""
    reset("upload", 1, tf32=False)
    defense = subject.make()
    if type(defense).member is not HorizontalDefense.member:
        raise NotApplicable("its clients say what they say by a protocol of its own")
    rng = Streams(0).generator("defense", client(0))
    sent = defense.upload(Update(updates(SMALL)[0], SMALL), ClientState(client(0), 0, 1, rng))
    if not isinstance(sent, Payload):
        raise Broken(f"upload returns a {type(sent).__name__}: write return Payload.dense(...), or another Payload")
    part = sent.parts.get("update")
    length = part.length if isinstance(part, Sparse) else part.values.numel() if part else SMALL.size
    if length != SMALL.size:
        raise Broken(f"upload sends {length} entries of an update that has {SMALL.size}: the server would refuse it")
    return ", ".join(sent.parts) or "nothing"


def same_seed(subject: Subject) -> str:
    """Two instances with the same streams send the same bytes, whatever the global generators say."""
    given = updates(SMALL)
    first, second = _twice(subject, given, given)
    different = _different(first, second)
    messages = sum(map(len, first.said.values()))
    if not different:
        return f"two instances sent the same {messages} messages, to the byte"
    if _uploads_only(subject):
        raise Broken(
            f"{different[0].sender} sent different bytes in two runs with the same streams: draw every random number "
            "from the generator that the verb is given (client.rng, step.rng), and keep no state outside client.memory"
        )
    apart = _relative(_mean(first), _mean(second))
    if apart > _SAME_MEAN:
        raise Broken(f"two runs with the same streams give means that are {apart:.1e} apart (relative)")
    return f"messages carry fresh keys or masks; the mean is the same to {apart:.0e}"


def own_data(subject: Subject) -> str:
    """What a client says before it hears anybody does not change with another client's update."""
    given = updates(SMALL)
    other = given.clone()
    other[1:] = updates(SMALL, "other")[1:]
    if _uploads_only(subject):
        first, second = _twice(subject, given, other)
        if _bytes(first, client(0)) != _bytes(second, client(0)):
            raise Broken(
                f"{client(0)} sends something else when only the other clients' updates change: what it sends must "
                "follow from its own update, its generator and client.memory; keep nothing in globals or on the class"
            )
        return f"the others' updates changed, and {client(0)} sent the same bytes"
    # Fresh keys differ in every run: what stays the same between two equal runs must stay the same in the third.
    one, two = _twice(subject, given, given)
    three = _once(subject, other, "third")
    opening = [_opening(subject, played) for played in (one, two, three)]
    steady = [a == b for a, b in zip(opening[0], opening[1], strict=True)]
    if any(ok and a != c for ok, a, c in zip(steady, opening[0], opening[2], strict=True)):
        raise Broken(f"{client(0)}'s first words change with the other clients' updates, which it has not heard of")
    if len(opening[2]) != len(opening[0]):
        raise Broken(f"{client(0)} begins with {len(opening[2])} messages in place of {len(opening[0])}")
    return f"{client(0)} begins with the same {sum(steady)} steady parts of {len(steady)}; the others are fresh"


def right_mean(subject: Subject) -> str:
    """The weighted mean: of the right shape, finite, of the right sign and scale; its error is reported."""
    given, samples = updates(SMALL), [n + 1 for n in range(CLIENTS)]
    extra = updates(SMALL, "statistics")[:, :_STATISTICS]
    reset("mean", 1, tf32=False)
    defense = subject.make()
    played = play(defense, given, statistics=extra, samples=samples)
    try:
        mean = played.collector.mean()
    except RoundFailed as why:
        raise Broken(f"{CLIENTS} honest clients got no mean: {why}") from None
    weights = torch.tensor(samples) / sum(samples)
    found, wanted = mean.update.flat, weights @ given
    if found.shape != wanted.shape:
        raise Broken(f"the mean is of shape {tuple(found.shape)} in place of {tuple(wanted.shape)}")
    if not bool(found.isfinite().all()):
        raise Broken(f"the mean has {int((~found.isfinite()).sum())} entries that are infinite or NaN")
    if mean.statistics.shape != (_STATISTICS,) or _relative(mean.statistics, weights @ extra) > _SAME_MEAN:
        raise Broken("the running statistics of batch norm are not averaged: a collector's mean has both")
    error = _relative(found, wanted)
    if _states_exact(defense, played) and error > EXACT:
        raise Broken(
            f"the server reads every entry as exact, but the mean is {error:.1e} off (relative): say in read or "
            "interpret how far an entry can be trusted, or average what the clients sent, by their weights"
        )
    _in_scale(defense, found, wanted, played, weights)
    return f"relative error {error:.1e} of the mean of {CLIENTS} clients"


def told_bytes(subject: Subject) -> str:
    """What the wire meters is the length of the real encoding, and what ``traffic`` says."""
    played = _once(subject, updates(SMALL), "bytes")
    for messages in played.said.values():
        for message in messages:
            if len(encode(decode(message.data))) != len(message.data):
                raise Broken(f"{message.sender}: {len(message.data)} bytes that encode to another length")
    defense = subject.make()
    metered = communication.measured(defense, SMALL, _STATISTICS, CLIENTS, Streams(0))
    try:
        told = communication.modelled(defense, SMALL, _STATISTICS, CLIENTS)
    except SkipCell as why:
        raise Broken(f"no cost model: {why}; override traffic, with fl_attack_bench.api.frame_bytes") from None
    if told == metered:
        return f"{metered.total:g} bytes a client, metered and told, for {SMALL.size} entries"
    lengths = {len(message.data) for name in played.said for message in played.said[name] if message.topic == UPDATE}
    apart = abs(told.total - metered.total) / max(metered.total, 1)
    if len(lengths) > 1 and apart <= _UNEVEN:
        return f"{metered.total:g} bytes a client metered, {told.total:g} told: the length depends on the update"
    raise Broken(
        f"traffic says up {told.up:g}, down {told.down:g}, peers {told.peers:g} bytes a client, and the wire meters "
        f"{metered.up:g}, {metered.down:g}, {metered.peers:g}: put every part of every message into traffic"
    )


def on_cpu(subject: Subject) -> str:
    """A small federation learns under it; seconds of the defense in one update."""
    return _federated(subject, "cpu")


def on_cuda(subject: Subject) -> str:
    """The same on a GPU, where there is one."""
    if not torch.cuda.is_available():
        raise NotApplicable("no CUDA device on this machine")
    return _federated(subject, "cuda")


def _federated(subject: Subject, device: str) -> str:
    reset("federation", 1, tf32=False)
    defense, model = subject.make(), federation.network(device=device)
    members = [Client(client(n), own, defense) for n, own in enumerate(federation.hands(device=device))]
    server, work, spent = Server(model, defense, 0.1), LocalWork(0.1), []
    for round in range(_ROUNDS):
        watch = Stopwatch(hardware.clock(device))
        if not play_round(Wire(), server, members, model, work, round, Streams(0), None, watch):
            raise Broken(f"round {round} of a small federation ran off: its mean is infinite or NaN")
        spent.append(statistics.fmean(watch.speaking[member.name] for member in members))
    if server.failures:
        raise Broken(f"a small federation lost rounds: {'; '.join(server.failures)}")
    defense.guarantee(Exposure(CLIENTS, CLIENTS, _ROUNDS, _ROUNDS, equal_weights=True))
    _certified(defense, model, members[0])
    milliseconds = 1000 * statistics.median(spent[1:])
    return f"{milliseconds:.2f} ms of defense in one update of {model.layout.size} entries on {device}"


def _certified(defense: HorizontalDefense, model: FlatModel, member: Client) -> None:
    model.module.eval()
    rng = Streams(0).generator("certificate")
    stated = defense.certify(LocalStep(model.module, member.samples.images, member.samples.labels, rng))
    if stated is not None and stated.bound.shape != (len(member.samples),):
        raise Broken(f"certify bounds {tuple(stated.bound.shape)} in place of one number a sample")


def _uploads_only(subject: Subject) -> bool:
    steps: tuple[str, ...] = subject.make().steps
    return steps == (UPDATE,)


def _once(subject: Subject, given: Tensor, stream: str) -> Played:
    """A round by a new instance; the global generators stand somewhere else for every stream."""
    reset(stream, 1, tf32=False)
    return play(subject.make(), given, first=1)


def _twice(subject: Subject, one: Tensor, other: Tensor) -> tuple[Played, Played]:
    return _once(subject, one, "first"), _once(subject, other, "second")


def _different(one: Played, other: Played) -> Sequence[Message]:
    """Messages of the first round that the second does not have in their place."""
    pairs = zip(one.wire.view(), other.wire.view(), strict=False)
    apart = [a for a, b in pairs if (a.sender, a.receiver, a.data) != (b.sender, b.receiver, b.data)]
    return apart or one.wire.view()[len(other.wire.view()) :]


def _bytes(played: Played, name: str) -> list[bytes]:
    return [message.data for message in played.said[name]]


def _opening(subject: Subject, played: Played) -> list[bytes]:
    """The parts of what the first client says in the protocol's first step, each as bytes."""
    first = [message for message in played.said[client(0)] if message.topic == subject.make().steps[0]]
    parts = [part for message in first for part in message.payload().parts.values()]
    return [repr(part.values.tolist()).encode() for part in parts]


def _mean(played: Played) -> Tensor:
    return played.collector.mean().update.flat


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def _states_exact(defense: HorizontalDefense, played: Played) -> bool:
    """Whether everything that the server is told counts as exact."""
    uploads = [m for m in played.wire.view() if m.topic == UPDATE and m.receiver == SERVER]
    plan = LocalPlan(1, 1, 1, 0.1)
    read = [defense.interpret(defense.read(m.payload(), SMALL), SMALL, plan) for m in uploads]
    return bool(read) and all(bool(seen.sent.all()) and not bool(seen.noise.any()) for seen in read)


def _in_scale(defense: HorizontalDefense, found: Tensor, wanted: Tensor, played: Played, weights: Tensor) -> None:
    """Sign and size, by projection: what a defense takes away on purpose is held against what the server reads."""
    share = float(found @ wanted / wanted.square().sum())
    cosine = float(found @ wanted / (found.norm() * wanted.norm()).clamp(min=1e-30))
    if cosine < -3 / math.sqrt(len(wanted)):
        raise Broken(f"the mean points the other way (cosine {cosine:.2f}): mind the sign")
    if share > _LARGE:
        raise Broken(f"the mean is {share:.1f} times what it should be: weights sum to 1, so multiply and add, no more")
    if share >= _SMALL:
        return
    uploads = {m.sender: m.payload() for m in played.wire.view() if m.topic == UPDATE and m.receiver == SERVER}
    if any(not isinstance(payload.parts.get("samples"), Dense) for payload in uploads.values()):
        raise Broken(f"the mean is {share:.2g} times what it should be")
    values = torch.stack([defense.read(uploads[client(n)], SMALL).values for n in range(CLIENTS)])
    read = weights @ values
    kept = float(found @ read / read.square().sum().clamp(min=1e-30))
    if not 0.9 <= kept <= 1.1:
        raise Broken(f"the mean is {share:.2g} times what it should be, and {kept:.2g} times the mean of what was read")


CHECKS = (
    Check("horizontal: upload", upload),
    Check("horizontal: same seed", same_seed),
    Check("horizontal: own data", own_data),
    Check("horizontal: mean", right_mean),
    Check("horizontal: bytes", told_bytes),
    Check("horizontal: CPU", on_cpu),
    Check("horizontal: CUDA", on_cuda),
)
