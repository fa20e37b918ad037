"""Options that several commands take."""

import os
from pathlib import Path
from typing import Annotated

import typer

DATA_VARIABLE = "FLAB_DATA_DIR"
FOLDER = Path("flab-runs")

Folder = Annotated[Path, typer.Option("--folder", help="The run folder: records, results of jobs, logs.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help=f"Where datasets lie.  [default: ${DATA_VARIABLE} or ./data]", show_default=False),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow tracking store.  [default: $MLFLOW_TRACKING_URI or SQLite in the run folder]",
        show_default=False,
    ),
]


def data_dir(given: Path | None) -> Path:
    """Where datasets lie: as given, else as the environment says, else ``./data``."""
    return (given or Path(os.environ.get(DATA_VARIABLE) or "data")).expanduser()
