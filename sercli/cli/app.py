"""The command line: commands, and errors as one line and an exit status."""

import _thread
import functools
import importlib
import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sercli.caches import provide_caches
from sercli.cli import console, options
from sercli.errors import SercliError, UsageError
from sercli.files import describe_os_error, name_file
from sercli.version import __version__

_TYPERS_CTRL_C = 130  # exit status into which typer turns KeyboardInterrupt

COMMANDS = (
    "prepare",
    "inspect",
    "featurize",
    "train",
    "evaluate",
    "tune",
    "compare",
    "predict",
    "explain",
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


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"sercli {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[  # noqa: ARG001 - for its callback
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Recognize the emotion in recorded speech.

    Write a report on a folder of recordings: `sercli predict ./calls --out report.csv`

    Train your own model on RAVDESS: prepare, featurize, train, evaluate, predict.
    """
    console.set_verbose(verbose)
    console.set_quiet(quiet)


def _add_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options --verbose and --quiet to a command, which may also stand before it."""

    def run(*, verbose: options.Verbose = False, quiet: options.Quiet = False, **values: Any) -> None:
        console.set_verbose(verbose or console.is_verbose())
        console.set_quiet(quiet or console.stderr.quiet)
        command(**values)

    own, (*added, _) = (inspect.signature(function).parameters.values() for function in (command, run))
    functools.update_wrapper(run, command)
    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    return run


for _name in COMMANDS:
    _module = importlib.import_module(f"sercli.cli.{_name}")
    app.command(_name, epilog=getattr(_module, "EPILOG", None))(_add_verbosity(getattr(_module, _name)))


def main() -> NoReturn:
    """Runs the command line and exits: 0 success, 1 something failed, 2 invalid usage."""
    # Python sets closed standard streams to None.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout.encoding and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    provide_caches()
    # After an interrupt, the resource tracker of worker processes reports what it then cleans up.
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker")))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # SIGTERM, and SIGHUP of a terminal that is closed, act like Ctrl-C: temporary files are removed.
    for number in filter(None, (signal.SIGTERM, getattr(signal, "SIGHUP", None))):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *_: _interrupt())
    sys.unraisablehook = _repeat_lost_interrupt
    try:
        with name_file(Path("standard output")):  # other files are named where they are written
            status = app(standalone_mode=False) or 0
            sys.stdout.flush()
        if status == _TYPERS_CTRL_C:
            _interrupt()
    except typer.TyperException as error:
        # Wrong options, missing arguments. Typer has its own copy of click's classes.
        if message := error.format_message():  # empty when help was shown because no command was given
            console.show_error(f"{message} (see --help)")
        status = error.exit_code
    except typer.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        console.show_error("interrupted")
        status = 1
    except BrokenPipeError:  # the reader of stdout is gone, as with `| head`
        status = 1
    except SercliError as error:
        _show(str(error))
        status = 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        # Disk full, permission denied. Any other error is a bug in sercli and keeps its traceback.
        _show(describe_os_error(error))
        status = 1
    try:
        sys.stdout.flush()
    except OSError:
        # It was named above, and would be repeated at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(status)


def _repeat_lost_interrupt(lost: "sys.UnraisableHookArgs") -> None:
    """Repeats a Ctrl-C that Python swallowed because it arrived in a callback, as while importing."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.02, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(lost)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _show(message: str) -> None:
    if console.is_verbose():
        traceback.print_exc()
    console.show_error(message)
