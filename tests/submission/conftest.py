"""A small suite on digits, really played once, and what the tests make of its records."""

import pytest
from tiny_suite import TINY

from fl_attack_bench.score.faults import fault
from fl_attack_bench.submission import collect, validate, verify
from fl_attack_bench.suite import MethodSpec, Suite

SUITE = TINY | {"suite": "small", "title": "Small"}
NOISE = MethodSpec(name="gaussian_noise", parameters={"scale": 0.1})


@pytest.fixture(scope="session")
def suite():
    return Suite.model_validate(SUITE)


@pytest.fixture(scope="session")
def really_played(suite, tmp_path_factory):
    """The records of both cells by id, as the runner made them."""
    cells = validate.Terms(suite, NOISE, "generic-cpu", fault).cells
    return verify.replay(suite, list(cells.values()), tmp_path_factory.mktemp("data"))


@pytest.fixture
def held(really_played):
    """The same as from a checkout without changes, whatever this one is."""
    return {cell_id: of_clean_checkout(record) for cell_id, record in really_played.items()}


@pytest.fixture
def terms(suite):
    return validate.Terms(suite, NOISE, "generic-cpu", fault)


@pytest.fixture
def place(tmp_path, terms, held):
    """A sound submission's folder."""
    return collect.write(tmp_path / "results", terms, held)


def of_clean_checkout(record):
    return record.model_copy(update={"provenance": record.provenance.model_copy(update={"dirty": False})})
