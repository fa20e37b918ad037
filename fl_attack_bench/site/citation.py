"""How to cite a board: the version, and a hash that tells which records it was."""

import hashlib
from pathlib import Path

from fl_attack_bench import __version__
from fl_attack_bench.site.contents import Contents


def bibtex(board: Contents, records: Path) -> str:
    """A BibTeX entry for this board.

    Args:
        board: for the number and the date of its records.
        records: the ``records.json`` beside the pages, whose SHA-256 stands in the note.
    """
    day = board.newest
    with records.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    lines = [
        "@misc{fl_attack_bench,",
        "  title  = {fl-attack-bench: standardised attacks on defenses of federated learning},",
        "  author = {{The fl-attack-bench contributors}},",
        *([f"  year   = {{{day[:4]}}},"] if day else []),
        f"  note   = {{version {__version__}; {len(board.records)} records{f', the newest of {day}' if day else ''};",
        f"            records.json has SHA-256 {digest}}},",
        "}",
    ]
    return "\n".join(lines)
