"""YAML from strangers: what is plain and small is read, everything else is refused with the place and a reason."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import safe_yaml
from fl_attack_bench.errors import UserError

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=50, deadline=None)
def test_plain_data_survives(data):
    assert safe_yaml.loads(yaml.safe_dump(data, sort_keys=False), "here") == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", r"here:1: anchors and aliases are not allowed"),
        ("a: 1\nb: *x\n", r"here:2: anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system ['true']\n", r"here:1: tag 'tag:yaml.org,2002:python/object"),
        ("a:\n  - !x 1\n", r"here:2: tag '!x' is not allowed"),
        ("a: !!float 1\n", r"here:1: tag .* is not allowed"),
        ("a: 1\nb: 2\na: 3\n", r"here:3: key 'a' stands twice"),
        ("[1]: 2\n", r"here:1: keys are plain scalars"),
        ("{{a: 1}: 2}\n", r"here:1: keys are plain scalars"),
        ("a: [1\n", r"here:\d+: "),
        ("a: b: c\n", r"here:1: mapping values are not allowed"),
        ("%YAML 9\n---\na\n", r"here:1: "),
        ("a: \x00\n", r"here: not YAML: "),
        ("--- 1\n--- 2\n", r"here:2: "),
        ("2024-99-99: 1\n", r"here: not YAML: |here:1: "),
        ("a: 2024-99-99\n", r"here: not YAML: "),
        ("[" * 25 + "]" * 25, r"here:1: nested deeper than 24 levels"),
        ("- " * 30 + "1\n", r"here:1: nested deeper than 24 levels"),
    ],
)
def test_what_is_not_plain_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        safe_yaml.loads(text, "here")


def test_a_bomb_of_aliases_is_refused_at_once():
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]\n"]
    levels += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    begun = time.monotonic()
    with pytest.raises(UserError, match="anchors"):
        safe_yaml.loads("".join(levels), "here")
    assert time.monotonic() - begun < 1


def test_deep_nesting_is_refused_before_it_exhausts_the_stack():
    begun = time.monotonic()
    for text in ("[" * 400_000, "{a: " * 100_000, "- " * 400_000):
        with pytest.raises(UserError, match="nested deeper"):
            safe_yaml.loads(text, "here")
    assert time.monotonic() - begun < 5


def test_an_integer_beyond_pythons_limit_is_no_traceback():
    with pytest.raises(UserError, match="not YAML"):
        safe_yaml.loads("a: " + "9" * 5000, "here")


def test_files_are_bounded_and_named(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (safe_yaml.MAX_BYTES + 1))
    with pytest.raises(UserError, match=r"big.yaml: larger than 1000000 bytes"):
        safe_yaml.load(path)
    path.write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match=r"big.yaml: not UTF-8 at byte 3"):
        safe_yaml.load(path)
    with pytest.raises(UserError, match=r"absent.yaml: No such file"):
        safe_yaml.load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"Is a directory"):
        safe_yaml.load(tmp_path)


def refusal(read, *arguments):
    try:
        read(*arguments)
    except UserError as error:
        return str(error)
    return None


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_is_read_or_refused_never_anything_else(tmp_path_factory, garbage):
    path = tmp_path_factory.getbasetemp() / "garbage.yaml"
    path.write_bytes(garbage)
    said = refusal(safe_yaml.load, path)
    assert said is None or (str(path) in said and "\n" not in said)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t?0.e", max_size=60))
@settings(max_examples=200, deadline=None)
def test_what_looks_like_yaml_is_read_or_refused(text):
    said = refusal(safe_yaml.loads, text, "here")
    assert said is None or said.startswith("here:")
