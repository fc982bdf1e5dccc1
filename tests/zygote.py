"""Runs ``sercli`` in forks of a process that has imported what is slow to import.

Everything else is as in a process of its own: arguments, environment, folder, streams, signals, exit status. Only the
interpreter is not torn down when a command has exited: in a fork, where that copies all of its memory, it takes ten
times as long as a short command.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import Any

SLOW = (
    "sercli.cli.app",
    "sercli.corpora.prepare",
    "sercli.evaluation.compare",
    "sercli.evaluation.run",
    "sercli.features.extraction",
    "sercli.prediction.batch",
    "sercli.prediction.truth",
    "sercli.training.baselines",
    "sercli.training.featurize",
    "sercli.training.train",
    "onnxruntime",
    "rich.progress",
    "rich.table",
    "sklearn.model_selection",
    "torch._dynamo",  # which torch imports with the first optimizer
)


def measure_coverage() -> None:
    """Measures the coverage of the commands too, if the tests do."""
    if config := os.environ.pop("ZYGOTE_COVERAGE", None):
        import coverage

        coverage.Coverage(config_file=config, data_suffix=True).start()


def serve(listener: socket.socket) -> None:
    """Starts a process per connection until standard input ends; returns in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the monitors of processes are nobody's to wait for
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        message, streams, *_ = socket.recv_fds(connection, 1 << 20, 3)
        if os.fork() == 0:
            listener.close()
            start(connection, json.loads(message), streams)
            return
        connection.close()
        for stream in streams:
            os.close(stream)
    os._exit(0)


def start(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> None:
    """Forks once more; returns in the child, while the parent reports the child's process id and exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        for stream in (0, 1, 2, *streams):
            os.close(stream)
        connection.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    os.setsid()  # so that a test can kill it with its workers
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["disk"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["disk"], request["disk"]))
    sys.argv[1:] = request["arguments"]


def leave(status: int) -> None:
    """Ends the process, unless a stream cannot be flushed, which the interpreter shall report."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    exits: list[int] = []
    # Registered before all others, it is called after them; not after an uncaught exception, which has no status.
    atexit.register(lambda: leave(*exits) if exits else None)
    with socket.socket(fileno=int(sys.argv.pop())) as waiting:
        for name in SLOW:
            importlib.import_module(name)
        measure_coverage()
        gc.freeze()
        serve(waiting)
    try:
        importlib.import_module("sercli.cli").main()
    except SystemExit as exiting:
        exits += [exiting.code] if isinstance(exiting.code, int) else []
        raise
