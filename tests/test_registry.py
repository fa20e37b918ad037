"""How methods are found: by name, by path and through entry points, and what is said where that fails."""

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fl_attack_bench import registry
from fl_attack_bench.errors import UserError

METHOD = """
from dataclasses import dataclass
from fl_attack_bench.api import Card, HorizontalDefense, PassiveAttack

CARD = Card(title="Mine", paper="https://example.org", threat="none")


@dataclass(frozen=True)
class {name}({base}):
    {card}
    strength: float = 1.0
"""


def write(path, name="Mine", base="HorizontalDefense", card="card = CARD", more=""):
    path.write_text(METHOD.format(name=name, base=base, card=card) + textwrap.dedent(more))
    return str(path)


@pytest.fixture
def fresh():
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()


def test_every_file_of_the_two_folders_is_a_method():
    for kind in ("attack", "defense"):
        assert registry.names(kind)
        for name in registry.names(kind):
            found = registry.find(kind, name)
            assert (found.name, found.origin) == (name, "built-in")
            assert found.source_sha256 == registry.source_sha256(kind, name)
            assert found.cls.card.paper.startswith("https://")


def test_an_attack_is_passive_or_active(tmp_path):
    for base in ("PassiveAttack", "ActiveAttack"):
        path = tmp_path / f"{base.lower()}.py"
        write(path, base=base)
        path.write_text(path.read_text().replace("PassiveAttack\n", "PassiveAttack, ActiveAttack\n"))
        assert registry.find("attack", str(path)).cls.__mro__[1].__name__ == base


def test_an_unknown_name_brings_the_nearest_one():
    with pytest.raises(UserError, match=r"^suite 'x': unknown defense 'gausian_noise'; did you mean 'gaussian_noise'"):
        registry.find("defense", "gausian_noise", "suite 'x'")
    with pytest.raises(UserError, match=r"unknown attack 'gaussian_noise'; did you mean"):
        registry.source_sha256("attack", "gaussian_noise")


def test_a_name_cannot_leave_the_folders():
    for name in ("../defenses/none", "defenses.none", "__init__", "none.", ""):
        with pytest.raises(UserError, match="unknown defense"):
            registry.find("defense", name)


def test_a_file_is_found_by_its_path(tmp_path, monkeypatch):
    path = write(tmp_path / "my method.py", more="class _Private(HorizontalDefense): card = CARD")
    found = registry.find("defense", path)
    assert (found.name, found.origin, found.cls.__name__) == ("my method", "path", "Mine")
    assert found.source_sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert registry.find("defense", path).cls is found.cls
    monkeypatch.chdir(tmp_path)
    assert registry.find("defense", "./my method.py").cls is found.cls
    write(Path(path), name="Changed")
    assert registry.find("defense", path).cls.__name__ == "Changed"


def test_hashing_a_file_does_not_run_it(tmp_path):
    path = tmp_path / "bomb.py"
    path.write_text("raise SystemExit('ran')\n")
    assert registry.source_sha256("attack", str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert registry.origin("attack", str(path)) == "path"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name\n", r"broken.py does not import: ModuleNotFoundError: .*nothing_of_this_name"),
        ("def (:\n", r"broken.py does not import: SyntaxError"),
        ("1 / 0\n", r"broken.py does not import: ZeroDivisionError"),
        ("raise SystemExit(3)\n", r"broken.py does not import: SystemExit"),
        ("\x00\n", r"broken.py does not import: "),
    ],
)
def test_a_file_that_does_not_import_is_named(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        registry.find("defense", str(path))
    assert not [name for name in sys.modules if name.startswith("fl_attack_bench_path_broken")]


def test_a_file_holds_one_method_of_the_right_kind_with_a_card(tmp_path):
    (tmp_path / "none.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"none.py: a method's file holds one public [\w, ]+; found none"):
        registry.find("defense", str(tmp_path / "none.py"))
    two = write(
        tmp_path / "two.py",
        more="""
        class Other(HorizontalDefense):
            card = CARD
        """,
    )
    with pytest.raises(UserError, match=r"two.py: a method's file holds one public [\w, ]+; found Mine, Other"):
        registry.find("defense", two)
    with pytest.raises(UserError, match=r"defense 'attacks' is not a HorizontalDefense, [\w, ]+: derive"):
        registry.find("defense", write(tmp_path / "attacks.py", base="PassiveAttack"))
    with pytest.raises(UserError, match=r"attack 'noise' is not a PassiveAttack, .*: derive its class"):
        registry.find("attack", write(tmp_path / "noise.py"))
    with pytest.raises(UserError, match=r"one public PassiveAttack, .*; found none"):
        registry.find("attack", str(tmp_path / "none.py"))
    with pytest.raises(UserError, match=r"defense 'cardless' has no card: add `card = Card\("):
        registry.find("defense", write(tmp_path / "cardless.py", card="pass"))
    with pytest.raises(UserError, match=r"--defense: defense file .*absent.py does not exist"):
        registry.find("defense", str(tmp_path / "absent.py"), "--defense")


def install(folder, monkeypatch, entries, **modules):
    """A package as pip leaves it: its modules and a dist-info folder with entry points."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    info = folder / "some_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("fresh")
def test_an_installed_package_brings_methods_through_entry_points(tmp_path, monkeypatch):
    write(tmp_path / "plugin_defense.py")
    install(
        tmp_path,
        monkeypatch,
        "[fl_attack_bench.defenses]\n"
        "by_class = plugin_defense:Mine\n"
        "by_module = plugin_defense\n"
        "wrong = plugin_wrong:value\n"
        "missing = plugin_missing\n"
        "broken = plugin_broken\n"
        "none = plugin_broken\n"
        "[fl_attack_bench.attacks]\n"
        "guess = plugin_missing\n",
        plugin_wrong="value = 3\n",
        plugin_broken="raise RuntimeError('out of order')\n",
    )
    assert {"by_class", "by_module", "broken", "none"} <= set(registry.names("defense"))
    assert "guess" in registry.names("attack")
    for name in ("by_class", "by_module"):
        found = registry.find("defense", name)
        assert (found.name, found.cls.__name__, found.origin) == (name, "Mine", "entry-point")
        assert found.source_sha256 == registry.source_sha256("defense", name)
        assert registry.origin("defense", name) == "entry-point"
    assert registry.find("defense", "none").origin == "built-in"
    with pytest.raises(UserError, match=r"defense 'wrong' is not a HorizontalDefense"):
        registry.find("defense", "wrong")
    with pytest.raises(UserError, match=r"'broken' of entry point 'plugin_broken' does not import: out of order"):
        registry.find("defense", "broken")
    with pytest.raises(UserError, match=r"defense 'missing' of entry point 'plugin_missing' does not import"):
        registry.find("defense", "missing")
    with pytest.raises(UserError, match=r"plugin_missing has no source file"):
        registry.source_sha256("defense", "missing")
    with pytest.raises(UserError, match=r"unknown defense 'by_clas'; did you mean 'by_class'\?"):
        registry.find("defense", "by_clas")


def test_names_and_hashes_are_had_without_importing_any_method():
    script = """
        import sys
        from fl_attack_bench import registry
        for kind in ("attack", "defense"):
            for name in registry.names(kind):
                registry.source_sha256(kind, name)
        loaded = [m for m in sys.modules if m.startswith(("fl_attack_bench.attacks.", "fl_attack_bench.defenses."))]
        assert not loaded and "torch" not in sys.modules, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
