"""Messages wait until they are taken, senders that run ahead wait, and nobody waits for what cannot come."""

import threading
import time

import pytest

from fl_attack_bench.processes.frame import Frame
from fl_attack_bench.processes.mailroom import AHEAD, Mailroom, Refused, Silent

STAGES = ["setup", "training 0", "training 1", "training 2", "training 3"]


def room(seconds=5.0):
    return Mailroom("me", ["you", "her"], STAGES, seconds)


def frame(stage, number, data=b"x", sender="you"):
    return Frame(sender, stage, number, False, data)


def test_messages_of_one_sender_come_in_order_and_those_of_others_do_not_mix():
    mail = room()
    mail.enter(0)
    for number, data in enumerate((b"a", b"b")):
        mail.let_in(frame(0, number, data))
    mail.let_in(frame(0, 0, b"c", "her"))
    assert [mail.take(sender).data for sender in ("you", "her", "you")] == [b"a", b"c", b"b"]


def test_a_message_may_come_before_its_receiver_has_begun():
    mail = room()
    mail.let_in(frame(0, 0))
    mail.enter(0)
    assert mail.take("you").data == b"x"


def test_a_sender_too_far_ahead_waits_until_the_receiver_follows():
    mail = room()
    mail.enter(0)
    for stage in range(AHEAD + 1):
        mail.let_in(frame(stage, stage))
    done = threading.Event()

    def run_ahead():
        mail.let_in(frame(AHEAD + 1, AHEAD + 1))
        done.set()

    thread = threading.Thread(target=run_ahead, daemon=True)
    thread.start()
    assert not done.wait(0.4)
    mail.take("you")
    mail.enter(1)
    assert done.wait(2)
    thread.join()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (frame(0, 1), "message 1 of you, and 0 is the next"),
        (frame(5, 0), "me has no use for a message of stage 5"),
        (frame(0, 0, sender="them"), "'them' is nobody whom me knows"),
    ],
)
def test_what_is_not_let_in(given, message):
    mail = room()
    mail.enter(0)
    with pytest.raises(Refused, match=message):
        mail.let_in(given)


def test_a_message_given_twice_or_too_late_is_refused():
    mail = room()
    mail.enter(0)
    mail.let_in(frame(0, 0))
    with pytest.raises(Refused, match="message 0 of you, and 1 is the next"):
        mail.let_in(frame(0, 0))
    mail.take("you")
    mail.enter(1)
    with pytest.raises(Refused, match="me has no use for a message of setup"):
        mail.let_in(frame(0, 1))


def test_who_does_not_answer_is_named_after_the_time_limit():
    mail = room(seconds=0.2)
    mail.enter(1)
    began = time.monotonic()
    with pytest.raises(Silent, match=r"me waits for her in training 0: nothing came in 0\.2 s") as caught:
        mail.take("her")
    assert 0.15 < time.monotonic() - began < 2
    assert caught.value.peer == "her"


def test_who_has_ended_its_part_is_not_waited_for():
    mail = room()
    mail.enter(1)
    timer = threading.Timer(0.1, mail.ended, ("you", 1))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Silent, match="me waits for you in training 0, which has ended its part of it"):
        mail.take("you")
    assert time.monotonic() - began < 2
    mail.let_in(frame(2, 0, sender="her"))
    with pytest.raises(Silent, match="me waits for her in training 0, which has ended"):
        mail.take("her")


def test_a_message_that_nobody_reads_is_an_error():
    mail = room()
    mail.enter(0)
    mail.let_in(frame(0, 0))
    with pytest.raises(RuntimeError, match="me did not read what came from you"):
        mail.enter(1)


def test_a_failure_wakes_whoever_waits():
    mail = room()
    mail.enter(0)
    threading.Timer(0.1, mail.break_off, (OSError("gone"),)).start()
    with pytest.raises(OSError, match="gone"):
        mail.take("you")


def test_waiting_for_nobody():
    with pytest.raises(ValueError, match="me waits for 'them'; there are you, her"):
        room().take("them")
