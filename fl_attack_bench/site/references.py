"""Which paper a method or a published figure is of. All of it comes from records, so none of it is trusted.

A method names its paper by an address. A published figure says in words where it stands, as ``Sun et al. 2021, Table
1``: the words before the table are its citation. A citation is taken for the paper of an address where

- it holds the address itself;
- or it is called like a method of that paper, as ``RTAS 2021``;
- or every one of its figures that names a method with a paper names one of that paper, of no other one in common, and
  the year fits where the address tells one.

Otherwise the citation is a paper of its own.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from fl_attack_bench.site import formats

UNNAMED = "No source given"
_ADDRESS = re.compile(r"https://\S+")
_UP_TO_YEAR = re.compile(r"^.*?\b(?:19|20)\d\d[a-z]?\b")
_PLACE = re.compile(
    r"[,;:(]|\b(?:table|tables|figure|figures|fig|tab|section|sec|appendix|page|pages)\b\.?", re.IGNORECASE
)
_ARXIV = re.compile(
    r"https://(?:www\.)?arxiv\.org/(?:abs|pdf)/([0-9]{4}\.[0-9]{4,5})(?:v[0-9]+)?(?:\.pdf)?", re.IGNORECASE
)
_YEAR = re.compile(r"(?:^|[/.])((?:19|20)\d\d)(?=[/.]|$)")
_LATE = 1  # years by which a conference's proceedings follow a preprint


def address(link: str) -> str:
    """The link in one form for all that lead to one paper; empty where it is none that a page may carry."""
    link = formats.https(link.strip())
    if found := _ARXIV.fullmatch(link.partition("#")[0].rstrip("/")):
        return f"https://arxiv.org/abs/{found[1]}"
    scheme, _, rest = link.partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.lower()}{slash}{path.rstrip('/')}".rstrip("/") if link else ""


def citation(source: str) -> str:
    """What a source calls its paper: ``Sun et al. 2021`` of ``Sun et al. 2021, Table 1``."""
    text = " ".join(_ADDRESS.sub(" ", source).split())
    if found := _UP_TO_YEAR.match(text):
        return found[0]
    place = _PLACE.search(text)
    return (text[: place.start()] if place else text).strip(" .,;:()") or UNNAMED


def addressed(source: str) -> str:
    """The address that a source holds; empty where it holds none."""
    found = _ADDRESS.search(source)
    return address(found[0].rstrip(".,;:)]>\"'")) if found else ""


def name(link: str) -> str:
    """A short name of an address: ``arXiv 2012.06043``, ``doi 10.1145/358746.358762``."""
    if found := _ARXIV.fullmatch(link):
        return f"arXiv {found[1]}"
    for start, short in (("https://doi.org/", "doi "), ("https://eprint.iacr.org/", "ePrint ")):
        if link.startswith(start) and len(link) > len(start):
            return short + link.removeprefix(start)
    return link.removeprefix("https://")


def year(link: str) -> int | None:
    """In which an address says that the paper came out."""
    if found := _ARXIV.fullmatch(link):
        return 2000 + int(found[1][:2])
    told = _YEAR.search(link)
    return int(told[1]) if told else None


def paper_of(cited: str, figures: Sequence[Collection[str]], called: Mapping[str, str]) -> str:
    """The address of a citation's paper, or nothing.

    Args:
        cited: the citation.
        figures: of each of its figures, the addresses of the methods that it names.
        called: the addresses by method's name, in lower case.
    """
    words = re.sub(r"\b(?:19|20)\d\d[a-z]?\b", "", cited).strip(" ,").casefold()
    if words in called:
        return called[words]
    telling = [set(named) for named in figures if named]
    common = set.intersection(*telling) if telling else set()
    if len(common) != 1:
        return ""
    link = common.pop()
    told, said = year(link), re.search(r"\b((?:19|20)\d\d)[a-z]?\b", cited)
    fits = told is None or said is None or 0 <= int(said[1]) - told <= _LATE
    return link if fits else ""
