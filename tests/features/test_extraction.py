import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import preprocess
from sercli.corpora.index import Index, read_index
from sercli.errors import InputError
from sercli.features.extraction import extract_store
from sercli.features.frontend import FrontEnd
from sercli.features.journal import journal_path
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from tests.sounds import write_sound
from tests.toy_index import index_toy

PARAMETERS = StoreParameters()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    index_toy(folder, speakers=2, takes=2)
    return folder


def read_all(path: Path) -> tuple[list[str], list[np.ndarray]]:
    with FeatureStore(path) as store:
        names = [f"{row.file} {row.alteration}" for row in store.rows]
        return names, [store.read(number) for number in range(len(store))]


def test_the_store_holds_what_preprocessing_and_front_end_give(toy: Path, tmp_path: Path) -> None:
    index = read_index(toy / "index.csv")
    extract_store(index, tmp_path / "f.h5", PARAMETERS)
    front_end = FrontEnd(PARAMETERS.features)
    _, matrices = read_all(tmp_path / "f.h5")
    for utterance, matrix in zip(index.utterances, matrices, strict=True):
        signal_ = preprocess(*read_signal(index.path_of(utterance)), PARAMETERS.audio)
        np.testing.assert_allclose(matrix, front_end.extract(signal_), rtol=1e-3, atol=1e-4)


def test_order_and_content_do_not_depend_on_jobs(toy: Path, tmp_path: Path) -> None:
    index = read_index(toy / "index.csv")
    for jobs in (1, 2):
        summary = extract_store(index, tmp_path / f"{jobs}.h5", PARAMETERS, jobs=jobs, copies=2)
        assert (summary.extracted, summary.reused, summary.failures) == (3 * len(index), 0, ())
    (names, matrices), (names_2, matrices_2) = read_all(tmp_path / "1.h5"), read_all(tmp_path / "2.h5")
    assert names == names_2
    assert [name.split(" ")[0] for name in names[::3]] == [u.file for u in index.utterances]
    for one, two in zip(matrices, matrices_2, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_second_run_computes_only_what_is_new_or_changed(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    index = index_toy(folder, speakers=2, takes=1)
    store = tmp_path / "f.h5"
    part = Index(folder=index.folder, utterances=index.utterances[:5])
    assert extract_store(part, store, PARAMETERS).extracted == 5
    summary = extract_store(index, store, PARAMETERS, copies=1)
    assert (summary.extracted, summary.reused) == (2 * len(index) - 5, 5)
    moved = index.path_of(index.utterances[0]).rename(folder / "moved.wav")
    write_sound(index.path_of(index.utterances[1]), 0.5 * read_signal(moved)[0].astype(np.float64))
    again = index_toy(folder, speakers=0)
    summary = extract_store(again, store, PARAMETERS, copies=1)
    assert summary.failures == ()
    assert summary.extracted == 2, "one recording was changed, one only moved"
    assert extract_store(again, store, PARAMETERS, copies=1, restart=True).reused == 0


def test_files_that_fail_are_named_and_the_others_are_in_the_store(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    silent, gone, changed = (index.path_of(utterance) for utterance in index.utterances[:3])
    write_sound(silent, np.zeros(16_000))
    index = index_toy(tmp_path, speakers=0)
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b"more")
    summary = extract_store(index, tmp_path / "f.h5", PARAMETERS, jobs=2)
    reasons = {failure.file: failure.reason for failure in summary.failures}
    assert len(reasons) == 3
    assert "silent" in reasons[index.utterances[0].file]
    assert reasons[index.utterances[1].file] == "no such file"
    assert "has changed since it was indexed" in reasons[index.utterances[2].file]
    names, _ = read_all(tmp_path / "f.h5")
    assert [name.strip() for name in names] == [u.file for u in index.utterances[3:]]


def test_a_store_of_nothing_but_failures_is_empty(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    for utterance in index.utterances:
        index.path_of(utterance).unlink()
    assert len(extract_store(index, tmp_path / "f.h5", PARAMETERS).failures) == len(index)
    with FeatureStore(tmp_path / "f.h5") as store:
        assert len(store) == 0


def test_recordings_that_are_out_of_reach_keep_what_the_store_has_of_them(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    store = tmp_path / "f.h5"
    extract_store(index, store, PARAMETERS)
    names, matrices = read_all(store)
    index.path_of(index.utterances[0]).unlink()
    assert len(extract_store(index, store, PARAMETERS, copies=1).failures) == 1
    kept, found = read_all(store)
    assert kept[0] == names[0]
    assert len(kept) == 2 * len(names) - 1
    np.testing.assert_array_equal(found[0], matrices[0])


@pytest.mark.parametrize("change", [{"restart": True}, {"copies": 1}])
def test_a_store_is_not_replaced_by_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    store = tmp_path / "f.h5"
    extract_store(index, store, PARAMETERS)
    names, _ = read_all(store)
    for utterance in index.utterances:
        index.path_of(utterance).unlink()
    if "restart" in change:
        with pytest.raises(InputError, match=r"none of the 4 utterances can be used, .*: no such file; .*f\.h5 stays"):
            extract_store(index, store, PARAMETERS, **change)
    else:
        assert len(extract_store(index, store, PARAMETERS, **change).failures) == len(index)
    assert read_all(store)[0] == names


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path: Path) -> None:
    """Kills the real command again and again; the last run finishes what the killed ones left."""
    index = index_toy(tmp_path / "data", speakers=6, takes=4, seconds=1.0)
    store = tmp_path / "data" / "features.h5"
    command = [sys.executable, "-m", "sercli", "featurize", "--jobs", "1", "--data-dir", str(tmp_path / "data")]
    rng = np.random.default_rng(0)
    known = 0
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not journal_path(store).exists():
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.5)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        size = journal_path(store).stat().st_size if journal_path(store).exists() else 0
        assert size >= known or store.exists()
        known = size
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    extract_store(index, tmp_path / "whole.h5", PARAMETERS, copies=2)
    (names, matrices), (whole_names, whole) = read_all(store), read_all(tmp_path / "whole.h5")
    assert names == whole_names
    for one, two in zip(matrices, whole, strict=True):
        np.testing.assert_array_equal(one, two)
