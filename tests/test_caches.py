import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sercli.caches import VARIABLES, provide_caches

CACHED = "import numba\n@numba.njit(cache=True)\ndef double(number):\n    return 2 * number\n"

# Only the folder given stays writable, and with it what is mounted below /dev and /proc.
READ_ONLY = """
mount -t tmpfs none "$1" || exit 77
for place in $(awk '{print $5}' /proc/self/mountinfo); do
    case $place in "$1" | /proc* | /sys* | /dev*) ;; *) mount -o remount,ro,bind "$place" 2>/dev/null ;; esac
done
touch "$2" 2>/dev/null && exit 77
cd "$1" && exec "$3" -c "$4"
"""


def use_folders(monkeypatch: pytest.MonkeyPatch, *, home: str | Path, temporary: Path) -> None:
    """Sets both folders, and sees to it that what is set for libraries is unset after the test."""
    for name in (*VARIABLES, "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)


def run_read_only(folder: Path, code: str, **settings: str) -> str:
    """Runs Python where all but a folder in memory is read-only; its stdout."""
    library = folder / "library"
    library.mkdir()
    (library / "cached.py").write_text(CACHED)
    memory = folder / "memory"
    memory.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in {"HOME", "TMPDIR", *VARIABLES}}
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(library)])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", memory, library / "x", sys.executable, code],
        env={**environment, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **settings},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no read-only mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("home", ["", "/nonexistent", "/"])
def test_numba_caches_where_all_but_one_folder_is_read_only(tmp_path: Path, home: str) -> None:
    code = "import sercli.features, cached, os; print(cached.double(4), os.environ['NUMBA_CACHE_DIR'])"
    number, cache = run_read_only(tmp_path, code, **({"HOME": home} if home else {})).split()
    assert number == "8"
    assert Path(cache).parent.name == f"sercli-cache-{os.geteuid()}"


def test_a_writable_home_is_left_to_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folders(monkeypatch, home=tmp_path, temporary=tmp_path)
    provide_caches()
    assert not os.environ.keys() & VARIABLES.keys()


def test_settings_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folders(monkeypatch, home="relative", temporary=tmp_path)
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    provide_caches()
    assert os.environ["MPLCONFIGDIR"] == "mine"
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / f"sercli-cache-{os.geteuid()}" / "numba")


def test_a_closed_home_is_as_good_as_none(without_rights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = without_rights / "home"
    home.mkdir(mode=0o500)
    use_folders(monkeypatch, home=home, temporary=without_rights)
    provide_caches()
    assert {Path(os.environ[name]).parent.parent for name in VARIABLES} == {without_rights}


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o705])
def test_a_cache_that_others_can_use_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """What numba finds in its cache is run."""
    use_folders(monkeypatch, home="relative", temporary=tmp_path)
    theirs = tmp_path / f"sercli-cache-{os.geteuid()}"
    theirs.mkdir()
    theirs.chmod(mode)
    provide_caches()
    ours = Path(os.environ["NUMBA_CACHE_DIR"]).parent
    assert ours != theirs
    assert ours.stat().st_mode & 0o777 == 0o700
