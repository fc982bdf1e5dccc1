import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.config import AudioConfig, FeatureConfig
from sercli.errors import StoreError
from sercli.features.journal import journal_path
from sercli.features.parameters import StoreParameters
from sercli.features.rows import StoredRow
from sercli.features.store import FeatureStore, Matrix
from sercli.features.writer import StoreWriter
from tests.locks import build_nolock

FEATURES = FeatureConfig(names=("rms", "zcr"))
PARAMETERS = StoreParameters(audio=AudioConfig(), features=FEATURES, dtype="float32")


def make_row(number: int, alteration: str = "") -> StoredRow:
    return StoredRow(file=f'Ordner {number}/ä,"\n.wav', sha256=f"{number:064x}", alteration=alteration)


def make_matrix(number: int, frames: int) -> Matrix:
    return np.random.default_rng(number).standard_normal((2, frames)).astype(np.float32)


def write_store(path: Path, lengths: list[int], parameters: StoreParameters = PARAMETERS) -> list[StoredRow]:
    rows = [make_row(number) for number in range(len(lengths))]
    with StoreWriter(path, parameters) as writer:
        for number, length in enumerate(lengths):
            writer.add(rows[number].key, make_matrix(number, length).T)
        writer.finish(rows)
    return rows


@given(lengths=st.lists(st.integers(1, 2_000), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    path = tmp_path_factory.mktemp("store") / "features.h5"
    rows = write_store(path, lengths)
    with FeatureStore(path) as store:
        assert store.parameters == PARAMETERS
        assert store.rows == rows
        assert len(store) == len(lengths)
        assert store.n_frames.tolist() == lengths
        for number, length in enumerate(lengths):
            np.testing.assert_array_equal(store.read(number), make_matrix(number, length))
        frames = store.read_frames(0, len(lengths))
        assert frames.shape == (sum(lengths), 2)
    assert not journal_path(path).exists()


def test_float16_is_close(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [50], StoreParameters(audio=AudioConfig(), features=FEATURES))
    with FeatureStore(path) as store:
        np.testing.assert_allclose(store.read(0), make_matrix(0, 50), rtol=1e-3)


def test_the_store_carries_version_parameters_and_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [5])
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == 1
        assert file.attrs["fingerprint"] == PARAMETERS.fingerprint
        assert json.loads(file.attrs["parameters"])["features"]["n_fft"] == 1_024


def test_a_store_of_other_parameters_is_refused_and_both_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [5])
    other = StoreParameters(audio=AudioConfig(denoise=True), features=FEATURES, dtype="float32")
    with pytest.raises(StoreError) as caught:
        StoreWriter(path, other)
    for part in (PARAMETERS.fingerprint, other.fingerprint, "denoise False against True", "--restart"):
        assert part in str(caught.value)
    with StoreWriter(path, other, restart=True) as writer:
        writer.add(make_row(0).key, make_matrix(0, 3).T)
        writer.finish([make_row(0)])
    with FeatureStore(path) as store:
        assert store.parameters == other


def test_a_journal_of_other_parameters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with StoreWriter(path, PARAMETERS) as writer:
        writer.add("a", make_matrix(0, 3).T)
    other = StoreParameters(audio=AudioConfig(level_db=-10), features=FEATURES, dtype="float32")
    with pytest.raises(StoreError, match=r"level_db -20\.0 against -10"):
        StoreWriter(path, other)


def test_a_journal_cut_at_any_byte_keeps_all_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    sizes = []
    with StoreWriter(path, PARAMETERS) as writer:
        for number in range(4):
            writer.add(make_row(number).key, make_matrix(number, 3 + number).T)
            writer.commit()
            sizes.append(journal_path(path).stat().st_size)
    whole = journal_path(path).read_bytes()
    for cut in range(len(whole)):
        journal_path(path).write_bytes(whole[:cut])
        with StoreWriter(path, PARAMETERS) as writer:
            known = [make_row(number).key in writer for number in range(4)]
            assert known == [cut >= size for size in sizes]
            writer.add(make_row(9).key, make_matrix(9, 2).T)
            writer.finish([*(make_row(number) for number in range(sum(known))), make_row(9)])
        with FeatureStore(path) as store:
            for number in range(sum(known)):
                np.testing.assert_array_equal(store.read(number), make_matrix(number, 3 + number))
            np.testing.assert_array_equal(store.read(sum(known)), make_matrix(9, 2))
        path.unlink()


def test_a_flipped_byte_in_the_journal_costs_that_record_and_no_wrong_numbers(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with StoreWriter(path, PARAMETERS) as writer:
        writer.add("a", make_matrix(0, 8).T)
    damaged = bytearray(journal_path(path).read_bytes())
    damaged[-5] ^= 0xFF
    journal_path(path).write_bytes(damaged)
    with StoreWriter(path, PARAMETERS) as writer:
        assert "a" not in writer


def test_rows_of_the_old_store_are_kept_and_reordered(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    rows = write_store(path, [4, 5, 6])
    with StoreWriter(path, PARAMETERS) as writer:
        assert all(row.key in writer for row in rows)
        writer.add(make_row(7).key, make_matrix(7, 2).T)
        writer.finish([rows[2], make_row(7), rows[0]])
    with FeatureStore(path) as store:
        assert store.n_frames.tolist() == [6, 2, 4]
        np.testing.assert_array_equal(store.read(0), make_matrix(2, 6))


def test_a_missing_store_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="sercli featurize"):
        FeatureStore(tmp_path / "features.h5")


def test_a_store_that_may_not_be_read_is_not_called_damaged(without_rights: Path) -> None:
    path = without_rights / "features.h5"
    path.touch(mode=0o000)
    with pytest.raises(PermissionError):
        FeatureStore(path)


def test_what_a_killed_first_run_committed_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with StoreWriter(path, PARAMETERS) as writer:
        for number in range(3):
            writer.add(make_row(number).key, make_matrix(number, 4 + number).T)
    with FeatureStore(path) as store:
        assert not store.complete
        assert store.parameters == PARAMETERS
        assert [row.sha256 for row in store.rows] == [make_row(number).sha256 for number in range(3)]
        assert store.n_frames.tolist() == [4, 5, 6]
        np.testing.assert_array_equal(store.read(1), make_matrix(1, 5))
        assert store.read_frames(0, 3).shape == (15, 2)
    assert journal_path(path).exists()


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    journal_path(path).write_bytes(b"something else")
    for use in (FeatureStore, lambda p: StoreWriter(p, PARAMETERS), lambda p: StoreWriter(p, PARAMETERS, restart=True)):
        with pytest.raises(StoreError, match="in the way of the journal"):
            use(path)
    assert journal_path(path).read_bytes() == b"something else"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with StoreWriter(path, PARAMETERS), pytest.raises(StoreError, match="being written by another"):
        StoreWriter(path, PARAMETERS)
    with StoreWriter(path, PARAMETERS):
        pass


@pytest.mark.parametrize("keep", [0, 10, 500, 3_000])
def test_a_store_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [400])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"features\.h5"):
        FeatureStore(path)


def test_hdf5_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a feature store"):
        FeatureStore(path)


def test_a_later_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [3])
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(StoreError, match="schema version 99, this sercli reads 1"):
        FeatureStore(path)


def test_a_store_that_is_not_hdf5_stays_and_is_not_to_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    path.write_bytes(b"something else")
    with pytest.raises(StoreError, match=r"features\.h5 is not a whole HDF5 file .*: move it away") as caught:
        FeatureStore(path)
    assert "remove" not in str(caught.value)


def test_a_store_that_this_process_has_open_with_locks_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [3])
    with h5py.File(path), FeatureStore(path) as store:
        assert len(store) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EAGAIN], ids=errno.errorcode.get)
def test_a_store_is_written_and_read_where_the_file_system_has_no_locks(tmp_path: Path, number: int) -> None:
    path = tmp_path / "features.h5"
    code = (
        "import sys; from pathlib import Path; from tests.features.test_store import FeatureStore, write_store\n"
        "path = Path(sys.argv[1]); write_store(path, [3, 4])\n"
        "with FeatureStore(path) as store: print(len(store), store.read(1).shape)\n"
        "write_store(path, [3, 4, 5])\n"
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


def test_a_damaged_journal_is_replaced_by_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    journal_path(path).write_bytes(b'sercli features 1\n{"audio": 3}\n')
    with pytest.raises(StoreError, match=r"is damaged .*: start over with 'sercli featurize --restart'"):
        StoreWriter(path, PARAMETERS)
    rows = [make_row(0)]
    with StoreWriter(path, PARAMETERS, restart=True) as writer:
        writer.add(rows[0].key, make_matrix(0, 3).T)
        writer.finish(rows)
    with FeatureStore(path) as store:
        assert store.rows == rows
