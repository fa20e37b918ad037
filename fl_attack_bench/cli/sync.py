"""``flab sync``: upload records that could not be logged."""

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import complain


def sync(tracking_uri: options.TrackingUri = None, folder: options.Folder = options.FOLDER) -> None:
    """Upload every record of the run folder that is not in the tracking store yet."""
    from fl_attack_bench import tracking
    from fl_attack_bench.store import Store

    store = Store(folder)
    uri = tracking_uri or tracking.default_uri(store)
    done, warnings = tracking.sync(store, uri)
    for warning in warnings:
        complain(warning)
    print(f"{done} records uploaded to {tracking.shown(uri)}")
    if warnings:
        raise typer.Exit(1)
