import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli.audio.augment import draw_augmentations, name_copy
from sercli.audio.decode import read_signal
from sercli.audio.segmentation import Segment, read_segments
from sercli.corpora.index import Index, read_index
from sercli.errors import InputError, StoreError
from sercli.features.extraction import extract_store
from sercli.features.frontend import FEATURES, Feature, FeatureConfig, extract_features
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.features.writer import journal_path
from tests.command import run_sercli, start_sercli
from tests.features.stores import assert_same_stores, read_all, write_long
from tests.sounds import preprocess_recording, write_sound
from tests.toy_index import index_toy

PARAMETERS = StoreParameters()
LOGMEL = PARAMETERS.select(("logmel",))


def test_the_store_holds_what_preprocessing_and_front_end_give(toy: Path, tmp_path: Path) -> None:
    index = read_index(toy / "index.csv")
    extract_store(index, tmp_path / "f.h5", PARAMETERS)
    _, matrices = read_all(tmp_path / "f.h5")
    assert len(matrices) > 1
    for utterance, matrix in zip(index.utterances, matrices, strict=True):
        signal_ = preprocess_recording(*read_signal(index.path_of(utterance)), PARAMETERS.audio)
        expected = extract_features(signal_, PARAMETERS.features)
        assert matrix.shape == expected.shape
        np.testing.assert_allclose(matrix, expected, rtol=2e-3, atol=1e-3)


def test_a_long_recording_has_a_row_for_each_segment_that_prediction_would_see(tmp_path: Path) -> None:
    parameters = replace(LOGMEL, segmentation=replace(LOGMEL.segmentation, method="windows", max_segment=3.0, hop=2.0))
    index = write_long(tmp_path / "long.wav", 20)
    extract_store(index, tmp_path / "f.h5", parameters, copies=1)
    parts = read_segments(tmp_path / "long.wav", parameters.audio, parameters.segmentation)
    segments = [part for part in parts if isinstance(part, Segment)]
    assert len(segments) > 5
    with FeatureStore(tmp_path / "f.h5") as store:
        rows = [row for row in store.rows if not row.augmentation]
        assert [row.segment for row in rows] == list(range(len(segments)))
        for number, (row, segment) in enumerate(zip(rows, segments, strict=True)):
            assert (row.start, row.end, row.speech) == (segment.start, segment.end, segment.speech)
            np.testing.assert_array_equal(store.read(number), extract_features(segment.signal, parameters.features))
        copies = [row for row in store.rows if row.augmentation]
        assert [row.segment for row in copies] == [row.segment for row in rows]
        assert {row.augmentation for row in copies} == {
            name_copy(each) for each in draw_augmentations(index.utterances[0].sha256, 1, 0)
        }


def test_order_and_content_do_not_depend_on_jobs(toy: Path, tmp_path: Path) -> None:
    index = read_index(toy / "index.csv")
    for jobs in (1, 2):
        summary = extract_store(index, tmp_path / f"{jobs}.h5", PARAMETERS, jobs=jobs, copies=2)
        assert (summary.extracted, summary.reused, summary.failures) == (3 * len(index), 0, ())
    assert_same_stores(tmp_path / "1.h5", tmp_path / "2.h5")
    names, _ = read_all(tmp_path / "1.h5")
    assert [name.split(" ")[0] for name in names[::3]] == [u.file for u in index.utterances]


def test_a_second_run_computes_only_what_is_new_or_changed(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    index = index_toy(folder, speakers=2, takes=1)
    store = tmp_path / "f.h5"
    part = Index(folder=index.folder, utterances=index.utterances[:5])
    assert extract_store(part, store, LOGMEL).extracted == 5
    summary = extract_store(index, store, LOGMEL, copies=1)
    assert (summary.extracted, summary.reused) == (2 * len(index) - 5, 5)
    moved = index.path_of(index.utterances[0]).rename(folder / "moved.wav")
    write_sound(index.path_of(index.utterances[1]), 0.5 * read_signal(moved)[0].astype(np.float64))
    again = index_toy(folder, speakers=0)
    summary = extract_store(again, store, LOGMEL, copies=1)
    assert summary.failures == ()
    assert summary.extracted == 2, "one recording was changed, one only moved"
    assert extract_store(again, store, LOGMEL, copies=1, restart=True).reused == 0


def test_features_and_copies_are_added_to_a_store_and_the_rest_is_kept(toy: Path, tmp_path: Path) -> None:
    index, store = read_index(toy / "index.csv"), tmp_path / "f.h5"
    extract_store(index, store, LOGMEL)
    small = store.stat().st_size
    summary = extract_store(index, store, PARAMETERS.select(("mfcc", "logmel")), copies=2)
    assert (summary.extracted, summary.reused) == (3 * len(index), 0)
    extract_store(index, tmp_path / "whole.h5", PARAMETERS.select(("mfcc", "logmel")), copies=2)
    assert_same_stores(store, tmp_path / "whole.h5")
    assert store.stat().st_size > 3 * small
    content = store.read_bytes()
    # The default recipe asks for less than there is, and takes nothing away.
    for parameters, copies in ((LOGMEL, 0), (PARAMETERS.select(("mfcc",)), 1)):
        summary = extract_store(index, store, parameters, copies=copies)
        assert (summary.extracted, summary.reused) == (0, 3 * len(index))
        assert len(store.read_bytes()) == len(content)
    assert_same_stores(store, tmp_path / "whole.h5")


def test_copies_of_another_seed_take_the_place_of_the_old_ones(toy: Path, tmp_path: Path) -> None:
    index, store = read_index(toy / "index.csv"), tmp_path / "f.h5"
    extract_store(index, store, LOGMEL, copies=2)
    before, _ = read_all(store)
    assert extract_store(index, store, LOGMEL, copies=1, seed=1).extracted == len(index)
    after, _ = read_all(store)
    assert len(after) == 2 * len(index)
    assert set(before) & set(after) == {f"{utterance.file} " for utterance in index.utterances}


def test_a_new_feature_of_the_front_end_voids_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, store = read_index(toy / "index.csv"), tmp_path / "f.h5"
    extract_store(index, store, LOGMEL)
    peak = Feature(rows=lambda _: 1, compute=lambda analysis: np.abs(analysis.frames).max(axis=1, keepdims=True))
    monkeypatch.setitem(FEATURES, "peak", peak)
    with_peak = replace(PARAMETERS, features=FeatureConfig(names=("logmel", "peak")))
    assert extract_store(index, store, LOGMEL).extracted == 0
    assert extract_store(index, store, with_peak).extracted == len(index)
    with FeatureStore(store) as opened:
        assert opened.parameters == with_peak
        assert (opened.count_frames("peak") == opened.count_frames("logmel")).all()


def test_two_files_of_one_content_share_their_rows(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    first = index.utterances[0]
    twin = replace(first, file="recordings/twin.wav")
    index.path_of(twin).write_bytes(index.path_of(first).read_bytes())
    both = replace(index, utterances=(*index.utterances, twin))
    summary = extract_store(both, tmp_path / "f.h5", LOGMEL, jobs=2)
    assert (summary.extracted, summary.reused) == (len(index), 0)
    assert len(read_all(tmp_path / "f.h5")[0]) == len(index)


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
        assert (len(store), store.rows) == (0, [])


def test_recordings_that_are_out_of_reach_keep_what_the_store_has_of_them(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    store = tmp_path / "f.h5"
    extract_store(index, store, LOGMEL)
    names, matrices = read_all(store)
    index.path_of(index.utterances[0]).unlink()
    summary = extract_store(index, store, PARAMETERS.select(("mfcc", "logmel")), copies=1)
    assert len(summary.failures) == 1
    with FeatureStore(store) as opened:
        assert len(opened) == 2 * len(names) - 1
        assert f"{opened.rows[0].file} " == names[0]
        assert opened.count_frames("mfcc")[:2].tolist() == [0, matrices[1].shape[1]]
        np.testing.assert_array_equal(opened.read(0, ["logmel"]), matrices[0])
        with pytest.raises(StoreError, match="lacks features"):
            opened.read(0)


@pytest.mark.parametrize("change", [{"restart": True}, {"copies": 1}])
def test_a_store_is_not_replaced_by_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    index = index_toy(tmp_path, speakers=1, takes=1)
    store = tmp_path / "f.h5"
    extract_store(index, store, PARAMETERS)
    names, _ = read_all(store)
    for utterance in index.utterances:
        index.path_of(utterance).unlink()
    if "restart" in change:
        message = r"no utterance could be used; first failure: .*: no such file; .*f\.h5 is unchanged"
        with pytest.raises(InputError, match=message):
            extract_store(index, store, PARAMETERS, **change)
    else:
        assert len(extract_store(index, store, PARAMETERS, **change).failures) == len(index)
    assert read_all(store)[0] == names


def test_killed_at_any_moment_nothing_finished_is_lost(tmp_path: Path) -> None:
    """Kills the real command again and again; the last run finishes what the killed ones left."""
    index = index_toy(tmp_path / "data", speakers=6, takes=4, seconds=1.0)
    store = tmp_path / "data" / "features.h5"
    command = ("featurize", "--features", "all", "--jobs", "1")
    rng = np.random.default_rng(0)
    known = 0
    for _ in range(4):
        process = start_sercli(*command, cwd=tmp_path)
        while process.poll() is None and not journal_path(store).exists():
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.5)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if store.exists():
            break  # killed when all was done
        size = journal_path(store).stat().st_size if journal_path(store).exists() else 0
        assert size >= known
        known = size
    status, _, err = run_sercli(*command, cwd=tmp_path)
    assert status == 0, err
    extract_store(index, tmp_path / "whole.h5", PARAMETERS)
    assert_same_stores(store, tmp_path / "whole.h5")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path) -> None:
    """Ten minutes have 38 MB of samples in single precision, and 18 MB of features."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sercli.audio.segmentation import SegmentationConfig\n"
        "from sercli.corpora.index import Index, Utterance\n"
        "from sercli.features.extraction import extract_store\n"
        "from sercli.features.parameters import StoreParameters\n"
        "from sercli.files import hash_file\n"
        "path = Path(sys.argv[1])\n"
        "utterance = Utterance(file=path.name, corpus='csv', emotion='happy', sha256=hash_file(path))\n"
        "index = Index(folder=path.parent, utterances=(utterance,))\n"
        "parameters = StoreParameters(segmentation=SegmentationConfig(method='windows'))\n"
        "assert not extract_store(index, path.with_suffix('.h5'), parameters).failures\n"
        "print(*[line for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    )
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        write_long(path, 60.0 * minutes)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[1]) / 1e3)
    assert (tmp_path / "10.h5").stat().st_size > 15e6
    assert peaks[1] < peaks[0] + 15, "megabytes"
