"""The commands and the one place where errors become a line and an exit status."""

import _thread
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sercli.caches import provide_caches
from sercli.cli import console
from sercli.errors import SercliError, UsageError
from sercli.files import describe_os_error, name_file
from sercli.version import __version__

_TYPERS_CTRL_C = 130  # the status that typer makes of a KeyboardInterrupt, which it does not let through

COMMANDS = (
    "prepare",
    "inspect",
    "featurize",
    "train",
    "evaluate",
    "tune",
    "compare",
    "predict",
    "recipes",
    "doctor",
)

app = typer.Typer(
    name="sercli",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sercli {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Which emotion is in recorded speech.

    From recordings to a report: `sercli predict ./calls --out report.csv`

    From the RAVDESS corpus to a model of your own: prepare, featurize, train, evaluate, predict.
    """


for _name in COMMANDS:
    app.command(_name)(getattr(importlib.import_module(f"sercli.cli.{_name}"), _name))


def main() -> NoReturn:
    """Runs the command line and exits: 0 all done, 1 something failed, 2 wrong usage."""
    # Closed ones are None.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout.encoding and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    provide_caches()
    # After an interrupt, the resource tracker of worker processes reports what it then cleans up.
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker")))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    verbose = any(argument in {"-v", "--verbose"} for argument in sys.argv[1:])
    # SIGTERM ends a command as Ctrl-C does, so that temporary files go and finished work stays.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    sys.unraisablehook = _repeat_lost_interrupt
    try:
        with name_file(Path("standard output")):  # all other files are named where they are written
            status = app(standalone_mode=False) or 0
        if status == _TYPERS_CTRL_C:
            _interrupt()
    except typer.TyperException as error:
        # Wrong options, missing arguments. These are not click's own classes: typer carries its own copy.
        if message := error.format_message():  # none when the help was shown for want of a command
            console.show_error(f"{message} (--help shows what there is)")
        status = error.exit_code
    except typer.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        console.show_error("interrupted; what was finished is kept")
        status = 1
    except BrokenPipeError:
        # The reader of stdout went away, as with `| head`; silence the flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except SercliError as error:
        _show(str(error), verbose=verbose)
        status = 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        # Full disk, no permission and the like. Any other error is a defect of sercli and keeps its traceback.
        _show(describe_os_error(error), verbose=verbose)
        status = 1
    raise SystemExit(status)


def _repeat_lost_interrupt(lost: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C again, where Python has swallowed it since it fell into a callback, as while importing."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.02, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(lost)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _show(message: str, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    console.show_error(message)
