"""What the README says, done."""

import re
from pathlib import Path

import torch

from fl_attack_bench import registry, suite
from fl_attack_bench.api import ClientState, Dense, HorizontalDefense, Layout, Update
from fl_attack_bench.method import build

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_defense_of_the_readme_is_found_and_does_what_it_says(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "rounding.py"
    path.write_text(code)
    defense = build(registry.find("defense", str(path)).cls, {"step": 0.5})
    assert isinstance(defense, HorizontalDefense)
    update = Update(torch.tensor([0.2, 0.3, -1.4]), Layout(("w",), ((3,),)))
    part = defense.upload(update, ClientState("client/0", 0, 1, torch.Generator())).parts["update"]
    assert isinstance(part, Dense)
    assert part.values.tolist() == [0.0, 0.5, -1.5]


def test_every_suite_and_method_that_the_readme_names_exists() -> None:
    for name in re.findall(r"flab run ([a-z][a-z0-9-]*)", README):
        assert name in suite.bundled()
    for name in registry.names("attack") + registry.names("defense"):
        assert f"`{name}`" in README


def test_no_placeholder_and_no_missing_picture_is_left() -> None:
    assert not re.findall(r"^@[A-Z]+@$", README, flags=re.MULTILINE)
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (Path(__file__).resolve().parent.parent / path).is_file()
