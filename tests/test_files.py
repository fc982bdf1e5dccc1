import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sercli.errors import InputError, StoreError
from sercli.files import describe_os_error, name_file, remove_leftovers, write_by_rename
from sercli.locks import MARKER_SUFFIX, acquire_lock, lock_folder, release_lock, run_once
from tests.locks import build_nolock

HOLD = "import sys, time; from pathlib import Path; from sercli.locks import acquire_lock, release_lock\n"
BUSY = "from sercli.errors import StoreError; busy = StoreError('it is busy')\n"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EAGAIN)  # of NFS, SMB, Lustre and FUSE


@pytest.fixture(scope="module")
def nolock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nolock(tmp_path_factory.mktemp("nolock"))


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """Files of this process may have 1000 bytes; in the block only, since pytest may write into a larger one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def run_without_locks(code: str, library: Path, number: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD + code],
        env={**os.environ, "LD_PRELOAD": str(library), "NOLOCK_ERRNO": str(number)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_lock_held_by_another_process_is_refused_and_free_again_when_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"lock = acquire_lock(Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", HOLD + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=r"^it is busy$"):
            acquire_lock(path, StoreError("it is busy"))
        holder.kill()
    release_lock(acquire_lock(path, StoreError("it is busy")))
    assert not path.exists()


def test_leftovers_of_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    left = {".r.csv.0123abcd.tmp", "calls/.a.csv.0123abcd.tmp"}
    kept = {".r.csv.x.tmp", ".other.csv.0123abcd.tmp", "r.csv", ".r.csv.journal", "calls/.r.csv.0123abcd.tmp"}
    (tmp_path / "calls").mkdir()
    for name in left | kept:
        (tmp_path / name).touch()
    remove_leftovers([tmp_path / "r.csv", tmp_path / "calls/a.csv", tmp_path / "missing/a.csv"])
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == kept


def test_an_empty_folder_that_was_there_stays_and_one_that_was_not_goes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for folder in ("mine", "new/folder"):
        with pytest.raises(KeyError), lock_folder(tmp_path / folder):
            raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_folder_that_takes_no_files_is_not_called_busy() -> None:
    with pytest.raises(OSError, match=r"no file can be created here.*'/proc'"):
        acquire_lock(Path("/proc/.report.csv.lock"), InputError("it is busy"))


def test_a_lock_file_removed_while_others_wait_lets_only_one_of_them_in(tmp_path: Path) -> None:
    path, counted = tmp_path / "lock", tmp_path / "count"
    counted.write_text("0")
    code = (
        "for _ in range(20):\n"
        f" lock = acquire_lock(Path({str(path)!r})); count = Path({str(counted)!r}); n = int(count.read_text())\n"
        " time.sleep(0.001); count.write_text(str(n + 1)); release_lock(lock)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", HOLD + code]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert counted.read_text() == "60"


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_without_locks_a_marker_holds_owner_and_time(tmp_path: Path, nolock: Path, number: int) -> None:
    path = tmp_path / "lock"
    marker = tmp_path / f"lock{MARKER_SUFFIX}"
    hold = f"lock = acquire_lock(Path({str(path)!r})); print('held', flush=True); sys.stdin.read(); release_lock(lock)"
    ask = BUSY + f"acquire_lock(Path({str(path)!r}), busy)"
    with run_without_locks(hold, nolock, number) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        assert marker.read_text().splitlines()[0] == str(holder.pid)
        with run_without_locks(ask, nolock, number) as second:
            _, err = second.communicate()
        owner = rf"it is busy \(by process {holder.pid} on \S+ since 2\d{{3}}-\S+ \S+; if that .* remove {marker}\)"
        assert re.search(owner, err), err
        holder.stdin.close()
        assert holder.wait() == 0
    assert not marker.exists()


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_the_marker_of_a_killed_process_is_taken_over(tmp_path: Path, nolock: Path, number: int) -> None:
    path = tmp_path / "lock"
    hold = f"lock = acquire_lock(Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    with run_without_locks(hold, nolock, number) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert (tmp_path / f"lock{MARKER_SUFFIX}").exists()
    with run_without_locks(BUSY + f"release_lock(acquire_lock(Path({str(path)!r}), busy))", nolock, number) as second:
        _, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    assert not list(tmp_path.iterdir())


def test_the_marker_of_another_host_is_left_and_named(tmp_path: Path, nolock: Path) -> None:
    path = tmp_path / "lock"
    marker = tmp_path / f"lock{MARKER_SUFFIX}"
    marker.write_text("1\nanother-host\n")
    with run_without_locks(BUSY + f"acquire_lock(Path({str(path)!r}), busy)", nolock, errno.ENOLCK) as asking:
        _, err = asking.communicate()
    assert "it is busy (by process 1 on another-host since 2" in err
    assert err.rstrip().endswith(f"if that process no longer runs, remove {marker})")
    assert marker.read_text() == "1\nanother-host\n"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device (out.csv): free some space, or write to another disk"),
        (errno.EACCES, "Permission denied (out.csv): check the permissions of the file and its folder"),
        (errno.EROFS, "Read-only file system (out.csv): write to another folder"),
        (errno.EMFILE, "Too many open files (out.csv): raise the limit with 'ulimit -n', or give fewer --jobs"),
        (errno.ENAMETOOLONG, "File name too long (out.csv): give a shorter name"),
        (errno.EISDIR, "Is a directory (out.csv): expected a file, found a folder"),
        (errno.ENOENT, "No such file or directory (out.csv)"),
    ],
)
def test_errors_of_the_file_system_are_a_line_that_names_the_file(number: int, remedy: str) -> None:
    assert describe_os_error(OSError(number, os.strerror(number), "out.csv")) == remedy


def test_names_in_errors_stay_on_the_line() -> None:
    odd = OSError(errno.ENOENT, "No such file or directory", "a\nb\x1b[2J.wav", None, Path("c"))
    assert describe_os_error(odd) == "No such file or directory (a b?[2J.wav to c)"
    assert describe_os_error(OSError("no number\nat all")) == "no number at all"
    assert describe_os_error(OSError(errno.EBADF, "Bad file descriptor", 7)) == "Bad file descriptor"


@pytest.mark.parametrize("make", [OSError, RuntimeError])
def test_a_full_disk_is_recognized_in_the_texts_of_libraries(make: type[Exception]) -> None:
    text = "Can't decrement id ref count (errno = 28, error message = 'No space left on device', offset = 1)"
    with pytest.raises(OSError, match="No space left on device") as caught, name_file(Path("features.h5")):
        raise make(text)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "features.h5")


def test_other_errors_keep_their_own_name() -> None:
    with pytest.raises(FileNotFoundError) as caught, name_file(Path("out.csv")):
        Path("in.csv").read_text(encoding="utf-8")
    assert caught.value.filename == "in.csv"
    with pytest.raises(RuntimeError, match=r"^a defect$"), name_file(Path("out.csv")):
        raise RuntimeError("a defect")  # noqa: EM101


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_usual_permissions_and_a_replaced_one_its_own(tmp_path: Path, mask: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o640)
    before = os.umask(mask)
    try:
        for name, expected in (("new", 0o666 & ~mask), ("old", 0o640)):
            with write_by_rename(tmp_path / name) as stream:
                stream.write("text")
                (temporary,) = tmp_path.glob(f".{name}.*.tmp")
                assert temporary.stat().st_mode & 0o777 == expected  # also while it is written
            assert (tmp_path / name).stat().st_mode & 0o777 == expected
    finally:
        os.umask(before)


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(OSError, match="File too large") as caught, small_disk(), write_by_rename(path) as stream:
        stream.write("x" * 100_000)
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def write_nested(folder: Path) -> None:
    with write_by_rename(folder / "outer.csv"), write_by_rename(folder / "inner.csv") as stream:
        stream.write("x" * 100_000)


def test_of_nested_files_the_one_that_failed_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, small_disk():
        write_nested(tmp_path)
    assert caught.value.filename == str(tmp_path / "inner.csv")


@pytest.mark.parametrize(
    ("name", "break_folder", "number"),
    [
        ("x" * 300, lambda _: None, errno.ENAMETOOLONG),
        ("out.csv", lambda folder: (folder / "out.csv").mkdir(), errno.EISDIR),
        ("file/out.csv", lambda folder: (folder / "file").write_text(""), errno.ENOTDIR),
        ("shut/out.csv", lambda folder: (folder / "shut").mkdir(mode=0o500), errno.EACCES),
    ],
)
def test_what_cannot_be_written_is_named(
    without_rights: Path, name: str, break_folder: Callable[[Path], object], number: int
) -> None:
    break_folder(without_rights)
    with pytest.raises(OSError, match=r"\w") as caught, write_by_rename(without_rights / name):
        pass
    assert caught.value.errno == number
    assert str(without_rights) in str(caught.value.filename)
    assert ".tmp" not in str(caught.value.filename)


def test_waiting_for_a_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercli.locks.LOCK_TIMEOUT", 0.2)
    path = tmp_path / "lock"
    lock = acquire_lock(path)
    began = time.monotonic()
    with pytest.raises(InputError, match=f"{path} has been locked by another process"):
        acquire_lock(path)
    assert time.monotonic() - began >= 0.2
    lock.release()


def test_of_processes_that_start_together_one_runs_the_action_and_the_others_wait_for_it(tmp_path: Path) -> None:
    stamp, log = tmp_path / "cache" / "compiled", tmp_path / "log"
    code = (
        "import sys, time; from pathlib import Path; from sercli.locks import run_once\n"
        f"log = Path({str(log)!r}).open('a', buffering=1)\n"
        "def act(): log.write('begin\\n'); time.sleep(0.3); log.write('end\\n')\n"
        f"run_once(Path({str(stamp)!r}), act); log.write('after\\n')"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert log.read_text().split() == ["begin", "end", "after", "after", "after"]
    assert [path.name for path in stamp.parent.iterdir()] == ["compiled"]


def test_an_action_that_fails_is_run_again(tmp_path: Path) -> None:
    stamp = tmp_path / "compiled"
    with pytest.raises(ZeroDivisionError):
        run_once(stamp, lambda: 1 / 0)
    runs: list[int] = []
    for _ in range(2):
        run_once(stamp, lambda: runs.append(1))
    assert runs == [1]
