"""``flab show``: all that is known of one name, or of one cell that was played."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns
from fl_attack_bench.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from fl_attack_bench.store import Store

_CELL = "--"  # between the parts of a cell's id


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|CELL", help="What `flab list` prints, a file, or a cell.")],
    folder: options.Folder = options.FOLDER,
) -> None:
    """Show a method's card and parameters, a suite's grid, a hardware profile, a network, or a cell's record."""
    from fl_attack_bench.cli import details
    from fl_attack_bench.store import Store

    store = Store(folder)
    if details.show(name):
        return
    cell_id = _cell(name, store)
    if cell_id is not None:
        _show_cell(cell_id, store)
    elif not details.show_model(name):
        near = get_close_matches(name, _cells(store), n=1)  # not all: they would fill the screen
        if _CELL in name and not near:
            raise UserError(f"no cell {name!r} in {store.folder}: say by --folder in which run folder its record lies")
        raise UnknownNameError("name or cell", name, [*details.names(), *near])


def _show_cell(cell_id: str, store: "Store") -> None:
    from fl_attack_bench.cli.record import shown

    columns(shown(store.read(cell_id)))
    print(f"files in {store.place(cell_id)}")


def _cells(store: "Store") -> list[str]:
    return [place.name for place in store.records.iterdir()] if store.records.is_dir() else []


def _cell(name: str, store: "Store") -> str | None:
    """The cell of this id, or the only one that begins or ends so."""
    ids = _cells(store)
    if name in ids:
        return name
    near = [cell_id for cell_id in ids if cell_id.startswith(name) or cell_id.endswith(name)]
    if len(near) > 1:
        raise UserError(f"{name!r} begins or ends {len(near)} cells of {store.folder}, {min(near)!r} among them")
    return near[0] if near else None
