"""A method's checks run in a process of its own: it may hang, die or print, and a test or a person is told why."""

from pathlib import Path

import broken
import pytest

from fl_attack_bench import testing
from fl_attack_bench.errors import UserError

BRIEF = testing.Allowance(seconds=6)


def written(folder: Path, text: str) -> Path:
    path = folder / "theirs.py"
    path.write_text(text)
    return path


def test_one_that_never_ends_is_stopped_and_what_follows_is_not_tried(tmp_path: Path) -> None:
    found = list(testing.examine(written(tmp_path, broken.ENDLESS), allowance=BRIEF))
    verdicts = {one.check: one.verdict for one in found}
    assert list(verdicts)[:3] == ["method: file", "method: card", "method: parameters"]
    assert verdicts.pop("horizontal: upload") == "failed"
    assert list(verdicts.values()) == ["passed"] * 4 + ["not applicable"] * 8
    said = {one.check: one.said for one in found}
    assert said["horizontal: upload"] == "did not end within 6 s: make it faster, or allow more by --seconds"
    assert said["horizontal: CPU"] == "not run, as 'horizontal: upload' brought its process down"


def test_one_that_does_not_import_is_one_failed_check(tmp_path: Path) -> None:
    found = list(testing.examine(written(tmp_path, "raise RuntimeError('no')")))
    assert [(one.check, one.verdict) for one in found] == [("method: file", "failed")]
    assert found[0].said.endswith("theirs.py does not import: RuntimeError: no")


def test_one_that_ends_its_process_is_told_from_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not keep its contract") as raised:
        testing.verify(written(tmp_path, broken.DIES))
    assert str(raised.value).splitlines()[1:] == ["horizontal: upload: worker exited with status 3"]


@pytest.mark.parametrize(("name", "said"), [("nothing.py", "does not exist"), ("gradient_noize", "gradient_noise")])
def test_what_is_not_there_is_bad_input(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        list(testing.examine(str(tmp_path / name) if name.endswith(".py") else name))
