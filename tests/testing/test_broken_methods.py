"""The contract finds what is wrong with a method, by the check that is there for it, and says what to change."""

from pathlib import Path

import broken
import pytest
import torch

from fl_attack_bench.errors import UserError
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.testing import child
from fl_attack_bench.testing.finding import Finding, Listing


@pytest.fixture(autouse=True)
def _settings_of_torch():
    """Checks set torch up as a worker does; the tests that follow must not notice."""
    with torch.random.fork_rng():
        threads = torch.get_num_threads()
        yield
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def examined(folder: Path, text: str, kind: str = "any") -> dict[str, Finding]:
    """All findings on a file with this text, in this process."""
    path = folder / "broken_one.py"
    path.write_text(text)
    spec = MethodSpec(name=str(path))
    listing = child.describe(kind, spec)
    assert isinstance(listing, Listing)
    found = [child.describe(f"{listing.kind}: {check}", spec) for check in listing.checks]
    return {finding.check: finding for finding in found if isinstance(finding, Finding)}


def failed(folder: Path, text: str) -> dict[str, str]:
    return {name: one.said for name, one in examined(folder, text).items() if one.verdict == "failed"}


def test_a_defense_that_does_nothing_wrong_fails_no_check(tmp_path: Path) -> None:
    found = examined(tmp_path, broken.horizontal(""))
    assert {one.verdict for name, one in found.items() if "CUDA" not in name} == {"passed"}
    assert len(found) == 12


@pytest.mark.parametrize(
    ("text", "check", "said"),
    [
        (broken.OTHERS_DATA, "horizontal: own data", "keep nothing in globals"),
        (broken.RANDOM, "horizontal: same seed", "client.rng"),
        (broken.CLOCK, "horizontal: same seed", "client.rng"),
        (broken.PEEKS, "horizontal: reading", "follow from the payload"),
        (broken.PEEKS_BY_CONTENT, "horizontal: reading", "by a fresh copy of the file"),
        (broken.TRAFFIC, "horizontal: bytes", "traffic says up 4936"),
        (broken.RAISES, "horizontal: CPU", "raised KeyError: 'nothing here' (broken_one.py:"),
        (broken.NAN, "horizontal: mean", "1234 entries that are infinite or NaN"),
        (broken.SUMS, "horizontal: mean", "the mean is"),
        (broken.TURNED, "horizontal: mean", "exact"),
        (broken.TURNED_AND_SAID, "horizontal: mean", "mind the sign"),
        (broken.SHRUNK, "horizontal: mean", "0.14 times"),
        (broken.SHORT, "horizontal: mean", "shape (3,)"),
        (broken.CALLED_EXACT, "horizontal: exact entries", "1234 of 1234 entries"),
        (broken.NO_STATE, "horizontal: reading", "values of shape (3,)"),
        (broken.BARE, "horizontal: upload", "upload returns a Tensor: write return Payload.dense(...)"),
        (broken.NOTHING, "horizontal: upload", "upload returns a NoneType"),
        (broken.CUT, "horizontal: upload", "10 entries of an update that has 1234"),
        (broken.MISSPELT, "method: verbs", "nobody calls uplaod: did you mean upload?"),
        (broken.DROPPED, "method: verbs", "write def upload(self, update, client)"),
        (broken.CALLED, "method: verbs", "steps is read and not called"),
    ],
)
def test_a_horizontal_defense(tmp_path: Path, text: str, check: str, said: str) -> None:
    found = failed(tmp_path, broken.horizontal(text))
    assert said in found[check]


@pytest.mark.parametrize(
    ("text", "check", "said"),
    [
        (broken.VERTICAL_RANDOM, "vertical: gradients", "exchange.rng"),
        (broken.VERTICAL_SHAPE, "vertical: embeddings", "(1, 8)"),
        (broken.VERTICAL_MASK, "vertical: gradients", "mask the values too"),
        (broken.VERTICAL_SHARED, "vertical: own party", "exchange.memory"),
        (broken.VERTICAL_TOP, "vertical: top model", "no gradient comes through"),
    ],
)
def test_a_vertical_defense(tmp_path: Path, text: str, check: str, said: str) -> None:
    assert said in failed(tmp_path, broken.VERTICAL + text)[check]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (broken.UNREAD, "nobody read"),
        (broken.FAR_OFF, "off (relative)"),
        (broken.WRONG_SHAPE, "(8, 1) in place of (8, 10)"),
        (broken.SILENT, "waits for labels"),
    ],
)
def test_an_outsourced_defense(tmp_path: Path, text: str, said: str) -> None:
    assert said in failed(tmp_path, broken.OUTSOURCED + text)["outsourced: dense network"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("images += torch.rand(images.shape)", "streams.generator"),
        ("view.observed.values.zero_()", "writes into the view"),
        ("next(view.model.parameters()).data.zero_()", "writes into the view"),
        ("images = images[:1]", "of shape (1, 1, 1, 28, 28)"),
        ("images /= 0", "infinite or NaN"),
        ("return 3", "returns a int"),
    ],
)
def test_a_passive_attack(tmp_path: Path, change: str, said: str) -> None:
    assert said in failed(tmp_path, broken.PASSIVE.replace("CHANGE", change))["attack: CPU"]


@pytest.mark.parametrize(
    ("text", "check", "said"),
    [
        (broken.carded('Card(title="", paper="", threat="")'), "method: card", "title is empty"),
        (broken.carded('Card(title="T", paper="http://x.org", threat="s")'), "method: card", "write https://"),
        (broken.carded('"Broken"'), "method: card", "card is a str"),
        (broken.parametrised("scale: float = 1.0"), "method: parameters", "scale admits every number"),
        (broken.parametrised("size: Annotated[int, Ge(0)] = 1"), "method: parameters", "does not say what size is"),
        (broken.parametrised("scale: object = 1.0"), "method: parameters", "is accepted"),
        (broken.parametrised("step = 0.5"), "method: parameters", "write step: Annotated[float, ...] = 0.5"),
        (
            broken.parametrised("scale: Annotated[float, Gt(0)] = 1.0\n    def __post_init__(self): pass"),
            "method: parameters",
            "__post_init__",
        ),
    ],
)
def test_a_card_and_parameters(tmp_path: Path, text: str, check: str, said: str) -> None:
    assert said in failed(tmp_path, text)[check]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "does not import"),
        ("x = 1", "found none"),
        (broken.horizontal("") + broken.WHOLE.replace("class Broken", "class Second"), "found Broken, Second"),
        (broken.carded("CARD").replace("    card = CARD\n", ""), "has no card"),
    ],
)
def test_a_file_that_holds_no_method(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        examined(tmp_path, text)


def test_an_unknown_parameter_is_told_before_any_check(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(broken.horizontal(""))
    with pytest.raises(UserError, match="did you mean 'scale'"):
        child.describe("any", MethodSpec(name=str(path), parameters={"scael": 1.0}))


def test_a_method_that_quits_fails_its_check(tmp_path: Path) -> None:
    quits = broken.RAISES.replace('raise KeyError("nothing here")', "raise SystemExit(0)")
    assert "raised SystemExit" in failed(tmp_path, broken.horizontal(quits))["horizontal: mean"]
