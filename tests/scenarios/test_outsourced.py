"""The driver of outsourced protocols: what travels together, what is timed, what ends a run that cannot go on."""

from collections import Counter

import pytest
import torch

from fl_attack_bench.api import Holding, PartySilent, Payload
from fl_attack_bench.codec import encode
from fl_attack_bench.link import Link
from fl_attack_bench.scenarios.outsourced import Gathering, secrets_of
from fl_attack_bench.seeds import Streams
from fl_attack_bench.wire import Wire


class Scripted:
    """A party of one stage that does what a function of its endpoint says."""

    def __init__(self, endpoint, script, *, ahead=False):
        self.endpoint, self.script, self.ahead = endpoint, script, ahead

    async def setup(self):
        return await self.script(self.endpoint)


def number(value):
    return Payload.dense(torch.tensor([float(value)]), "number")


def value(payload):
    return float(payload.parts["number"].values)


class Ticking:
    """A clock that goes on by one whenever it is read."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def gather(ahead=(), clock=None, **scripts):
    def enter(name):
        return lambda endpoint, holding: Scripted(endpoint, scripts[name], ahead=name in ahead)

    return Gathering({name: enter(name) for name in scripts}, {}, Wire(), clock or Ticking(), Streams(1))


def run(gathering):
    return gathering.run("setup", 0, {name: party.setup() for name, party in gathering.parties.items()})


async def twice(endpoint):
    first = value(await endpoint.receive("a"))
    endpoint.send("a", number(first + 1))
    return value(await endpoint.receive("a"))


async def asks(endpoint):
    endpoint.send("b", number(1))
    answer = value(await endpoint.receive("b"))
    endpoint.send("b", number(answer * 10))
    return answer


def test_a_trip_is_what_can_travel_together():
    gathering = gather(a=asks, b=twice)
    assert run(gathering) == {"a": 2.0, "b": 20.0}
    sending = [[name for name in "ab" if phase.traffic[name].sent] for phase in gathering.wire.phases]
    assert sending == [["a"], ["b"], ["a"]]
    link = Link(name="slow", bits_per_second=1e12, round_trip_seconds=2.0)
    assert gathering.wire.seconds(link) == pytest.approx(3.0)


def test_messages_of_one_sender_come_in_their_order():
    async def sends(endpoint):
        for count in range(5):
            endpoint.send("b", number(count))

    async def takes(endpoint):
        return [value(await endpoint.receive("a")) for _ in range(5)]

    gathering = gather(a=sends, b=takes)
    assert run(gathering)["b"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(gathering.wire.phases) == 1


def test_what_could_have_been_sent_before_is_no_trip_and_no_time():
    async def deals(endpoint):
        endpoint.send("b", number(7), offline=True)

    async def waits(endpoint):
        return value(await endpoint.receive("helper"))

    gathering = gather(ahead=("helper",), helper=deals, b=waits)
    assert run(gathering)["b"] == 7.0
    assert [phase.topic for phase in gathering.wire.phases] == ["setup offline"]
    spent = gathering.spent["setup", 0]
    # the clock goes on by one a turn and party
    assert (spent.online, spent.ahead, spent.parties) == (1.0, 1.0, {"b": 1.0})


def test_what_could_have_been_sent_before_does_not_overtake_what_was_sent_before_it():
    async def sends(endpoint):
        for count, offline in enumerate((True, False, True, True, False)):
            endpoint.send("b", number(count), offline=offline)

    async def takes(endpoint):
        return [value(await endpoint.receive("a")) for _ in range(5)]

    gathering = gather(ahead=("a",), a=sends, b=takes)
    assert run(gathering)["b"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    # and each is metered where it belongs
    one = len(encode(number(0)))
    sizes = Counter()
    for phase in gathering.wire.phases:
        sizes[phase.topic] += phase.traffic["a"].sent
    assert sizes == {"setup": 2 * one, "setup offline": 3 * one}
    assert len([phase for phase in gathering.wire.phases if phase.topic == "setup"]) == 1


def test_the_slowest_party_of_each_turn_counts():
    clock = Ticking()

    def working(ticks):
        async def works(endpoint):
            clock.now += ticks
            endpoint.send("c", number(0))
            return

        return works

    async def last(endpoint):
        for name in ("a", "b"):
            await endpoint.receive(name)
        clock.now += 100

    gathering = gather(clock=clock, a=working(5), b=working(8), c=last)
    run(gathering)
    spent = gathering.spent["setup", 0]
    assert spent.parties == {"a": 6.0, "b": 9.0, "c": 102.0}
    assert spent.online == 9.0 + 101.0


def test_a_party_that_nobody_answers_ends_the_run_by_name():
    async def silent(endpoint):
        return None

    async def waits(endpoint):
        await endpoint.receive("a")

    with pytest.raises(PartySilent, match="b waits for a, which has ended"):
        run(gather(a=silent, b=waits))


def test_two_parties_that_wait_for_each_other_end_the_run_by_name():
    def waiting(other):
        async def waits(endpoint):
            await endpoint.receive(other)

        return waits

    with pytest.raises(PartySilent, match="a waits for b, which sends nothing; b waits for a, which sends nothing"):
        run(gather(a=waiting("b"), b=waiting("a")))


def test_a_message_that_nobody_reads_is_a_fault():
    async def sends(endpoint):
        endpoint.send("b", number(1))

    async def ends(endpoint):
        return None

    with pytest.raises(RuntimeError, match="messages that nobody read: a to b"):
        run(gather(a=sends, b=ends))


def test_a_message_to_nobody_is_a_fault():
    async def sends(endpoint):
        endpoint.send("c", number(1))

    with pytest.raises(ValueError, match="a sends to 'c'; there are a"):
        run(gather(a=sends))


def test_a_party_that_fails_ends_the_run_and_leaves_no_coroutine_open():
    closed = []

    async def fails(endpoint):
        raise ZeroDivisionError

    async def waits(endpoint):
        try:
            await endpoint.receive("a")
        finally:
            closed.append("b")

    with pytest.raises(ZeroDivisionError):
        run(gather(b=waits, a=fails))
    assert closed == ["b"]


def test_secrets_are_each_partys_own_and_unpredictable_unless_asked_otherwise():
    seeded = [secrets_of(name, Streams(3)).bytes(16) for name in ("a", "b", "a")]
    assert seeded[0] == seeded[2] != seeded[1]
    assert secrets_of("a", None).bytes(16) != secrets_of("a", None).bytes(16)


def test_only_who_works_ahead_of_the_data_sends_offline_and_it_hears_nothing():
    async def deals(endpoint):
        endpoint.send("b", number(7), offline=True)

    async def waits(endpoint):
        return value(await endpoint.receive("a"))

    with pytest.raises(ValueError, match="a sends offline, but does not work ahead of the data"):
        run(gather(a=deals, b=waits))

    async def tells(endpoint):
        endpoint.send("b", number(7))

    with pytest.raises(ValueError, match="a sends to b, which works ahead of the data and hears nothing"):
        run(gather(ahead=("b",), a=tells, b=waits))


def test_who_works_ahead_of_the_data_holds_none():
    def enter(endpoint, holding):
        return Scripted(endpoint, asks, ahead=True)

    with pytest.raises(ValueError, match="a works ahead of the data, but holds some"):
        Gathering({"a": enter}, {"a": Holding(features=torch.zeros(1))}, Wire(), Ticking(), None)
