"""What a server that averages makes of uploads that fit no average."""

import pytest
import torch

from fl_attack_bench.aggregation import MOST_SAMPLES, UPDATE, Averaging, Round, RoundFailed, dense
from fl_attack_bench.api import Card, HorizontalDefense, Layout, Payload
from fl_attack_bench.codec import CodecError, Dense, Sparse

LAYOUT = Layout(("layer.weight",), ((3,),))


class Plain(HorizontalDefense):
    card = Card(title="plain", paper="https://example.org", threat="none")


def averaging(statistics: int = 0) -> Averaging:
    return Averaging(Plain().aggregate, Round("test", 0, ("client/0", "client/1"), LAYOUT, statistics))


def upload(update: Dense | Sparse | None = None, samples: object = 4, **parts: torch.Tensor) -> Payload:
    held = {"update": update or Dense(torch.ones(3)), "samples": Dense(torch.tensor([samples]))}
    return Payload(held | {name: Dense(part) for name, part in parts.items()})


@pytest.mark.parametrize(
    "hostile",
    [
        Payload({"update": Dense(torch.ones(3))}),
        upload(samples=0),
        upload(samples=-80),
        upload(samples=MOST_SAMPLES + 1),
        upload(samples=1.5),
        upload(Dense(torch.ones(4))),
        upload(Sparse(torch.tensor([0]), torch.ones(1), 2**40)),
    ],
)
def test_an_upload_that_fits_no_average_counts_as_none(hostile: Payload) -> None:
    server = averaging()
    server.hear(UPDATE, "client/0", upload(Dense(torch.full((3,), 7.0))))
    with pytest.raises(CodecError):
        server.hear(UPDATE, "client/1", hostile)
    assert server.mean().update.flat.tolist() == [7.0, 7.0, 7.0]


def test_statistics_must_be_there_and_of_their_number() -> None:
    server = averaging(statistics=2)
    for hostile in (upload(), upload(statistics=torch.ones(3))):
        with pytest.raises(CodecError):
            server.hear(UPDATE, "client/0", hostile)
    server.hear(UPDATE, "client/1", upload(statistics=torch.tensor([1.0, 2.0])))
    assert server.mean().statistics.tolist() == [1.0, 2.0]


def test_strangers_are_not_heard_and_silence_is_no_mean() -> None:
    server = averaging()
    with pytest.raises(CodecError):
        server.hear(UPDATE, "client/9", upload())
    with pytest.raises(RoundFailed, match="none of 2 clients sent an update"):
        server.mean()


def test_dense_names_what_it_wants() -> None:
    payload = upload()
    with pytest.raises(CodecError, match="no dense part 'key' in a payload of update, samples"):
        dense(payload, "key")
    with pytest.raises(CodecError, match=r"'samples' is torch.int64 of shape \(1,\) in place of torch.uint8 of \(1,\)"):
        dense(payload, "samples", torch.uint8, (1,))
