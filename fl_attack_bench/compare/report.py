"""What a regression run found, as a table, as Markdown for a pull request and as a JUnit file."""

import math
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from fl_attack_bench.compare.regression import Check
from fl_attack_bench.site import formats

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHOWN = 50
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@!&])")
_HEAD = ("", "task", "defense", "attack", "figure", "base", "head", "")


@dataclass(frozen=True)
class Report:
    """A head against its base.

    Args:
        base: how it was named.
        head: likewise.
        checks: all of them.
        notes: what must be known beside them.
    """

    base: str
    head: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Check]:
        """The checks that fail."""
        return [check for check in self.checks if check.state == "regression"]

    @property
    def passed(self) -> bool:
        """Whether none fails."""
        return not self.regressions

    @property
    def summary(self) -> str:
        """One line."""
        found = len(self.regressions)
        counts = f"{len(self.checks)} checks, {found or 'no'} regression{'s' if found != 1 else ''}"
        return f"{'passed' if self.passed else 'failed'}: {counts}"


def table(report: Report) -> list[tuple[str, ...]]:
    """Lines of cells: what fails and what is noted, and every timing; the head is among them where there is any."""
    shown = [c for c in report.checks if c.state != "ok" or c.what.startswith("seconds")]
    ordered = sorted(shown, key=lambda check: ("regression", "note", "ok").index(check.state))
    return [_HEAD, *map(_line, ordered)] if ordered else []


def markdown(report: Report) -> str:
    """A summary for a pull request; what strangers wrote is escaped. At most 50 lines of a table are written out."""
    title = "No regression" if report.passed else "Regression"
    lines = [f"### {title}: {_escaped(report.head)} against {_escaped(report.base)}", "", f"{report.summary}.", ""]
    found = table(report)
    if found:
        head = ("", *found[0][1:-1], "why")
        lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        lines += [f"| {' | '.join(map(_escaped, line))} |" for line in found[1 : _SHOWN + 1]]
        if len(found) > _SHOWN + 1:
            lines.append(f"\nand {len(found) - _SHOWN - 1} more")
        lines.append("")
    lines += [f"- {_escaped(note)}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def junit(report: Report) -> str:
    """A JUnit file: one test case a check, a failure for each regression, well formed whatever the names hold."""
    suite = ElementTree.Element(
        "testsuite",
        name="flab regress",
        tests=str(len(report.checks)),
        failures=str(len(report.regressions)),
        errors="0",
        skipped=str(sum(check.state == "note" for check in report.checks)),
    )
    for check in report.checks:
        name = ", ".join(part for part in (check.task, check.defense, check.attack, check.what) if part)
        case = ElementTree.SubElement(suite, "testcase", classname=f"flab.regress.{check.axis}", name=_legal(name))
        if check.state == "regression":
            failure = ElementTree.SubElement(case, "failure", message=_legal(check.reason))
            failure.text = _legal(f"base {figure(check, check.base)}, head {figure(check, check.head)}: {check.reason}")
        elif check.state == "note":
            ElementTree.SubElement(case, "skipped", message=_legal(check.reason))
    if report.notes:
        ElementTree.SubElement(suite, "system-out").text = _legal("\n".join(report.notes))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(whole, encoding="unicode") + "\n"


def figure(check: Check, value: float | None) -> str:
    """A check's figure in its unit."""
    if value is None:
        return formats.NOTHING
    if "MSE" in check.what:
        return formats.mse(value)
    if check.what.startswith("seconds"):
        return formats.seconds(value)
    if check.what.startswith("bytes"):
        return formats.size(value)
    if check.what.startswith("epsilon"):
        return formats.plain(value) if math.isfinite(value) else "∞"
    return formats.percent(value, 2)


def _line(check: Check) -> tuple[str, ...]:
    values = figure(check, check.base), figure(check, check.head)
    state = check.state if check.state != "regression" else "REGRESSION"
    return (state, check.task, check.defense, check.attack, check.what, *values, check.reason)


def _escaped(text: str) -> str:
    """Text on one line in which no character means anything to Markdown or HTML, and nobody is mentioned."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _SPECIAL.sub(r"\\\1", formats.short(plain, 300)).replace("\\@", "&#64;").replace("\\<", "&lt;")


def _legal(text: str) -> str:
    """Text without the characters that XML cannot hold, escaped or not."""
    return _NOT_XML.sub("�", formats.short(text, 2000))
