"""`sercli doctor`: checks the installation."""

from pathlib import Path

import typer

from sercli.cli import console, options
from sercli.models.folder import DEFAULT_MODEL


def doctor(
    *,
    model: options.ModelDir = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
) -> None:
    """Check this installation: libraries, devices, codecs, folders, and the model's result for a test signal.

    The exit status is 1 if a check fails. Paste the table into a bug report; it shows ~ instead of your home folder.

    Example: `sercli doctor > doctor.txt`
    """
    from rich.table import Table
    from rich.text import Text

    from sercli.prediction.doctor import examine

    path: Path = model or DEFAULT_MODEL
    table = Table(box=None, pad_edge=False, show_header=False)
    wrong = []
    for check in examine(path, data_dir):
        state = Text("ok", style="green") if check.ok else Text("FAILED", style="bold red")
        table.add_row(check.name, state, Text(check.detail, overflow="fold"))
        wrong += [] if check.ok else [check.name]
    console.stdout.print(table, soft_wrap=False)
    if wrong:
        console.show_error(f"failed checks: {', '.join(wrong)}")
        raise typer.Exit(1)
