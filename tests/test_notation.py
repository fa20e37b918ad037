"""Methods on one line: what is written is read back, and what is no method is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.errors import UserError
from fl_attack_bench.notation import parse, written
from fl_attack_bench.suite import MethodSpec

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["true", "null", "1", "1e5", ".5", "-", "a,b", "a]", "[a", 'a"b', "a=b", " a ", "a b", "é", "\n", "\\"]
    ),
)
specs = st.builds(
    MethodSpec,
    name=st.sampled_from(["dlg", "none", "./my defense.py", "a[1]/b.py", "/x/é.py"]),
    parameters=st.dictionaries(st.sampled_from(["a", "b", "_c1"]), scalars | st.lists(scalars, max_size=3), max_size=3),
)


def same(one, other):
    """Equal in type too: 1, 1.0 and True are different parameters of different cells."""
    return json.dumps(one.model_dump(), sort_keys=True) == json.dumps(other.model_dump(), sort_keys=True)


@given(specs)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(spec):
    assert same(parse(written(spec)), spec)


@given(st.lists(specs, min_size=2, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_chain_is_read_back(links):
    spec = MethodSpec.chain(links)
    assert same(parse(written(spec)), spec)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("a+b", ["a", "b"]),
        ("a[x=1e+5]+b[y=[1,2]]+./c.py", ["a", "b", "./c.py"]),
        ('a[x="+]"]+b', ["a", "b"]),
        ('a[x=["]"]]+b[x="\\""]', ["a", "b"]),
        ("./one+two.py", []),
        ("./one+two.py+a", ["./one+two.py", "a"]),
    ],
)
def test_a_plus_between_methods_makes_a_chain(text, links):
    assert [link.name for link in parse(text).links] == links


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("dlg", "dlg", {}),
        ("gradient_compression[prune=0.9,residual=true]", "gradient_compression", {"prune": 0.9, "residual": True}),
        ("dlg[ restarts = 4 , line_search = none ]", "dlg", {"restarts": 4, "line_search": "none"}),
        (
            "x[a=1e-4,b=-3,c=.5,d=1.,e=null,f=false]",
            "x",
            {"a": 1e-4, "b": -3, "c": 0.5, "d": 1.0, "e": None, "f": False},
        ),
        ('x[a="1",b="a,b]",c=two words]', "x", {"a": "1", "b": "a,b]", "c": "two words"}),
        ("x[a=[1,2.5,b],c=[]]", "x", {"a": [1, 2.5, "b"], "c": []}),
        ("./mine.py", "./mine.py", {}),
        ("./a[b].py", "./a[b].py", {}),
        ("a[1]/b.py[b=1]", "a[1]/b.py", {"b": 1}),
        ('dlg[a="x.py[b=1]"]', "dlg", {"a": "x.py[b=1]"}),
        ("./a.py[b=1]", "./a.py", {"b": 1}),
        ("x[a=nan,b=inf]", "x", {"a": "nan", "b": "inf"}),
    ],
)
def test_forms(text, name, parameters):
    assert same(parse(text), MethodSpec(name=name, parameters=parameters))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[a=1]", "dlg[]", "dlg[", "dlg]", "dlg[a]", "dlg[a=]", "dlg[=1]", "dlg[a=1,]", "dlg[,a=1]",
     "dlg[a=[1]", "dlg[a=[1,]]", "dlg[a=1]]", "dlg[a=1]x", 'dlg[a="1]', "dlg[a=[[1]]]", "dlg[a=b=c,]", 'dlg[a="\\x"]',
     "dlg[a=1 b=2]", "a[b][c=1]"],
)  # fmt: skip
def test_what_is_no_method_is_refused(text):
    with pytest.raises(UserError, match=r"is no method: write NAME, NAME\[parameter=value,...\] or a path"):
        parse(text)


def test_other_slips_are_named():
    with pytest.raises(UserError, match=r"parameter 'a' stands twice"):
        parse("x[a=1,a=2]")
    with pytest.raises(UserError, match=r"1e999 is too large"):
        parse("x[a=1e999]")


@given(st.text(alphabet='ab1.[]=,"\\ -e', max_size=30))
@settings(max_examples=150, deadline=None)
def test_anything_is_read_or_refused(text):
    try:
        spec = parse(text)
    except UserError:
        return
    assert same(parse(written(spec)), spec)
