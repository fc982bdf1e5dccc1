"""`sercli doctor`: whether this installation works."""

from pathlib import Path

import typer

from sercli.cli import console, options
from sercli.models.folder import DEFAULT_MODEL


def doctor(
    *,
    model: options.ModelDir = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    verbose: options.Verbose = False,  # noqa: ARG001 - the error boundary reads it
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Check this installation: libraries, devices, codecs, folders, and whether the model answers as it should.

    The exit status is 1 if something is wrong. The table can be pasted into a bug report: it shows ~ in place of your
    home folder.

    Example: `sercli doctor > doctor.txt`
    """
    from rich.table import Table
    from rich.text import Text

    from sercli.prediction.doctor import examine

    path: Path = model or DEFAULT_MODEL
    table = Table(box=None, pad_edge=False, show_header=False)
    wrong = []
    for check in examine(path, data_dir):
        state = Text("ok", style="green") if check.ok else Text("WRONG", style="bold red")
        table.add_row(check.name, state, Text(check.found, overflow="fold"))
        wrong += [] if check.ok else [check.name]
    console.stdout.print(table, soft_wrap=False)
    if wrong:
        console.show_error(f"something is wrong with: {', '.join(wrong)}")
        raise typer.Exit(1)
