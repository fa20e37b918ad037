"""A network as the wire models it: data of a hardware profile."""

from pydantic import Field

from fl_attack_bench.schema import Document


class Link(Document):
    """The connection between every party and the rest, full duplex.

    Args:
        name: how figures and records call it.
        bits_per_second: what one party can send, and at the same time receive.
        round_trip_seconds: from a request to its answer.
    """

    name: str = Field(max_length=40)
    bits_per_second: float = Field(gt=0)
    round_trip_seconds: float = Field(ge=0)
