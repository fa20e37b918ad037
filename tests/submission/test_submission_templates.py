"""The forms for issues and pull requests: sound, and naming only what there is."""

import re
from pathlib import Path

import pytest
import yaml

from fl_attack_bench.cli import app

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*-*.yml"))
TEXTS = [*FORMS, ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md", ROOT / "leaderboard" / "RULES.md"]


def test_there_are_the_three_of_them():
    assert [form.stem for form in FORMS] == ["new-defense", "stronger-attack", "wrong-number"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_is_one(form):
    data = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= data.keys() <= {"name", "description", "title", "labels", "body"}
    fields = [field for field in data["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert len(names) == len(set(names))
    assert all(field["type"] in ("input", "textarea", "dropdown") and field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_commands_that_it_names_are_there(path):
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    named = set(re.findall(r"\bflab ([a-z]+)", path.read_text(encoding="utf-8")))
    assert named <= known
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
    assert options <= {"--suite", "--defense", "--attack", "--hardware", "--seed", "--allow-dirty"}


def test_the_links_of_the_rules_lead_somewhere():
    text = (ROOT / "leaderboard" / "RULES.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    assert all((ROOT / "leaderboard" / link).exists() for link in links)
