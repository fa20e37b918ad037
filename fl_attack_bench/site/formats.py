"""How the board writes figures, names and links. Everything here returns plain text; the templates escape it."""

import hashlib
import math
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

NOTHING = "–"
MINUS = "−"
_PLAIN = 10.0  # from here on three decimals are more than anybody reads
MOMENT_WORDS = {"initial": "round 0", "trained": "after training"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def mse(value: float | None) -> str:
    """Three figures for humans: ``0.0123``, or ``1.2 × 10⁻⁵`` where zeros would crowd it out."""
    if value is None:
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if value < 1e-3:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return f"{value:#.3g}" if value < 0.1 else f"{value:.3f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as per cent."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}%"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, with its sign."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.1f}"
    return text.replace("-", MINUS) if text not in ("+0.0", "-0.0") else "0.0"


def times(value: float | None) -> str:
    """A multiple: ``0.12×``, ``1.00×``, ``20×``."""
    if value is None:
        return NOTHING
    return f"{value:.2f}×" if value < 10 else f"{value:,.0f}×"


def number(value: float | None, digits: int = 2) -> str:
    """A plain figure."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def plain(value: float | None) -> str:
    """A figure of at least 0, of any size: ``12.3``, ``0.456``, ``12,346``, ``1.2 × 10⁷``."""
    if value is None:
        return NOTHING
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def size(value: float | None) -> str:
    """Bytes in decimal units."""
    if value is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.4g} EB"


def seconds(value: float | None) -> str:
    """A duration in the unit in which it reads well."""
    if value is None:
        return NOTHING
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            if value >= 999.5:
                return f"{value:,.0f} s" if value < 1e6 else f"{value:.3g} s"
            return f"{value * factor:.3g} {unit}"
    return NOTHING


def learned(value: float | None, quantity: str) -> str:
    """An accuracy as per cent, or an RMSE in the target's unit."""
    if quantity == "accuracy" or value is None:
        return percent(value)
    if not math.isfinite(value):
        return "∞"
    return f"{value:.3f}" if value < _PLAIN else plain(value)


def between(low: float, high: float, quantity: str) -> str:
    """A range, without its unit: ``90.0–92.0``."""
    return f"{learned(low, quantity)}{NOTHING}{learned(high, quantity)}".replace("%", "")


def apart(value: float | None, quantity: str) -> str:
    """A difference of accuracies in percentage points, or of RMSEs, with its sign."""
    if quantity == "accuracy" or value is None:
        return points(value)
    text = learned(abs(value), quantity)
    return text if text == "0.000" else f"{'+' if value > 0 else MINUS}{text}"


def moment(name: str) -> str:
    """A moment of the training in words."""
    return MOMENT_WORDS.get(name, name)


def page_name(kind: str, name: str, identity: str) -> str:
    """A file name that is readable, unique for the identity, and cannot leave the site's folder."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    digest = hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:10]
    return f"{kind}-{readable}-{digest}.html" if readable else f"{kind}-{digest}.html"


def https(link: str) -> str:
    """The link where it is one that a page may carry (https, with a host), or nothing."""
    if re.search(r"[\s\x00-\x20\\]", link) or len(link) > 2000:
        return ""
    try:
        parts = urlsplit(link)
        return link if parts.scheme == "https" and parts.hostname else ""
    except ValueError:
        return ""


def short(text: str, limit: int = 100) -> str:
    """Text cut to a length; a stranger's name may hold megabytes."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def foldable(label: str) -> list[str]:
    """A method's label in parts, between which a line may end: after ``_``, ``,`` and a space, and before ``[``."""
    return [part for part in re.split(r"(?<=[_, ])|(?=\[)", label) if part]


def sentence(parts: Iterable[str]) -> str:
    """``a, b and c``."""
    items = list(parts)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
