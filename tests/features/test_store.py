import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.errors import StoreError
from sercli.features.store import FeatureStore
from sercli.features.writer import journal_path
from tests.features.stores import PARAMETERS, Lengths, make_matrix, name_content, name_file, write_store
from tests.locks import build_nolock


@given(lengths=st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=3), min_size=1, max_size=12))
@settings(max_examples=20)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, lengths: Lengths) -> None:
    path = tmp_path_factory.mktemp("store") / "features.h5"
    write_store(path, lengths)
    with FeatureStore(path) as store:
        assert store.parameters == PARAMETERS
        assert len(store) == sum(map(len, lengths))
        assert store.count_frames("rms").tolist() == [frames for segments in lengths for frames in segments]
        expected = [(number, segment) for number, segments in enumerate(lengths) for segment in range(len(segments))]
        assert [(row.file, row.sha256, row.segment) for row in store.rows] == [
            (name_file(number), name_content(number).sha256, segment) for number, segment in expected
        ]
        assert all((row.start, row.end, row.speech) == (row.segment, row.segment + 1, 0.5) for row in store.rows)
        for position, (number, segment) in enumerate(expected):
            frames = lengths[number][segment]
            rms, zcr = (make_matrix(number, segment, name, frames) for name in ("rms", "zcr"))
            np.testing.assert_array_equal(store.read(position), np.hstack([rms, zcr]).T)
            np.testing.assert_array_equal(store.read(position, ["zcr", "rms"]), np.hstack([zcr, rms]).T)
    assert not journal_path(path).exists()


def test_a_missing_store_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="sercli featurize"):
        FeatureStore(tmp_path / "features.h5")


def test_a_store_that_may_not_be_read_is_not_called_damaged(without_rights: Path) -> None:
    path = without_rights / "features.h5"
    path.touch(mode=0o000)
    with pytest.raises(PermissionError):
        FeatureStore(path)


@pytest.mark.parametrize("keep", [0, 10, 500, 3_000])
def test_a_truncated_store_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[400]])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"features\.h5"):
        FeatureStore(path)


def test_hdf5_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a feature store"):
        FeatureStore(path)


@pytest.mark.parametrize("version", [1, 99])
def test_another_schema_version_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[3]])
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = version
    with pytest.raises(StoreError, match=f"schema version {version}, this sercli reads 2: .*--restart"):
        FeatureStore(path)


def test_a_store_whose_offsets_do_not_match_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[3], [4]])
    with h5py.File(path, "a") as file:
        file["features/rms/offsets"][-1] = 400
    with pytest.raises(StoreError, match="not a feature store"):
        FeatureStore(path)


def _spoil_text(file: h5py.File) -> None:
    file["rows/file"][0] = b"\xff.wav"


def _lose_column(file: h5py.File) -> None:
    del file["rows/speech"]


def _shorten_column(file: h5py.File) -> None:
    del file["rows/end"]
    file["rows/end"] = np.zeros(1)


def _turn_offsets(file: h5py.File) -> None:
    file["features/rms/offsets"][1] = 9


def _lose_fingerprint(file: h5py.File) -> None:
    del file["features/rms"].attrs["fingerprint"]


@pytest.mark.parametrize("spoil", [_spoil_text, _lose_column, _shorten_column, _turn_offsets, _lose_fingerprint])
def test_a_damaged_store_is_refused_in_a_line(tmp_path: Path, spoil: Callable[[h5py.File], None]) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[3], [4]])
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(StoreError, match=r"features\.h5 is damaged \(.*\): move it away and run 'sercli featurize'"):
        _read_all(path)


def _read_all(path: Path) -> None:
    with FeatureStore(path) as store:
        store.group_rows()
        store.read(0)
        store.fingerprint_of("rms")


def test_a_store_that_is_not_hdf5_stays_and_is_not_to_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    path.write_bytes(b"something else")
    with pytest.raises(StoreError, match=r"features\.h5 is not a complete HDF5 file .*: move it away") as caught:
        FeatureStore(path)
    assert "remove" not in str(caught.value)


def test_a_store_that_this_process_has_open_with_locks_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[3]])
    with h5py.File(path), FeatureStore(path) as store:
        assert len(store) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EAGAIN], ids=errno.errorcode.get)
def test_a_store_is_written_and_read_where_the_file_system_has_no_locks(tmp_path: Path, number: int) -> None:
    path = tmp_path / "features.h5"
    code = (
        "import sys; from pathlib import Path; from tests.features.stores import FeatureStore, write_store\n"
        "path = Path(sys.argv[1]); write_store(path, [[3], [4]])\n"
        "with FeatureStore(path) as store: print(len(store), store.read(1).shape)\n"
        "write_store(path, [[3], [4], [5]])\n"
    )
    library = build_nolock(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path],
        env={**os.environ, "LD_PRELOAD": str(library), "NOLOCK_ERRNO": str(number)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("2 (2, 4)\n", "")
    with FeatureStore(path) as store:
        assert len(store) == 3
