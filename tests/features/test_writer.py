import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from sercli.audio.augment import Augmentation, name_copy
from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.errors import InputError, StoreError
from sercli.features.frontend import FEATURES, FeatureConfig
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.features.writer import StoreWriter, journal_path
from sercli.journal import Journal
from tests.features.stores import PARAMETERS, make_extracted, make_matrix, name_content, name_file, write_store


def test_the_store_carries_version_parameters_and_fingerprints(tmp_path: Path) -> None:
    write_store(tmp_path / "features.h5", [[5]])
    with h5py.File(tmp_path / "features.h5") as file:
        assert file.attrs["schema_version"] == 2
        parameters = json.loads(file.attrs["parameters"])
        assert (parameters["features"]["n_fft"], parameters["segmentation"]["max_whole"]) == (1_024, 8.0)
        assert file["features/rms"].attrs["fingerprint"] == PARAMETERS.features.fingerprint_of("rms")
        assert (file["features/rms/frames"].chunks, file["features/rms/frames"].dtype) == (None, np.float16)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(PARAMETERS, audio=AudioConfig(denoise=True)), "denoise: found False, expected True"),
        (replace(PARAMETERS, segmentation=SegmentationConfig(max_whole=3)), "max_whole: found 8.0, expected 3"),
        (
            replace(PARAMETERS, features=FeatureConfig(names=("rms",), hop_length=128)),
            "hop_length: found 256, expected 128",
        ),
    ],
)
def test_other_parameters_are_refused_and_both_are_shown(
    tmp_path: Path, other: StoreParameters, difference: str
) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[5]])
    for _ in range(2):  # a store, then a journal
        with pytest.raises(StoreError) as caught:
            StoreWriter(path, other)
        for part in (PARAMETERS.select(other.names).fingerprint, other.fingerprint, difference, "--restart"):
            assert part in str(caught.value)
        path.unlink(missing_ok=True)
        with StoreWriter(path, PARAMETERS) as writer:
            writer.add(name_content(0).sha256, make_extracted(0, [3]))
    with StoreWriter(path, other, restart=True) as writer:
        writer.add(name_content(0).sha256, make_extracted(0, [3], other.names))
        writer.finish([(name_content(0), "a")])
    with FeatureStore(path) as store:
        assert store.parameters == other


def test_a_feature_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path / "features.h5", [[5]])
    monkeypatch.setitem(FEATURES, "zcr", replace(FEATURES["zcr"], version=2))
    with pytest.raises(StoreError, match=r"feature zcr of .* another version of sercli.*--restart"):
        StoreWriter(tmp_path / "features.h5", PARAMETERS)
    with StoreWriter(tmp_path / "features.h5", PARAMETERS.select(("rms",))) as writer:
        assert writer.find_missing(name_content(0), ("rms", "zcr")) == ()


def test_a_feature_of_another_version_in_the_journal_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StoreWriter(tmp_path / "features.h5", PARAMETERS) as writer:
        writer.add(name_content(0).sha256, make_extracted(0, [3]))
        assert writer.find_missing(name_content(0), ("rms", "zcr")) == ()
    monkeypatch.setitem(FEATURES, "zcr", replace(FEATURES["zcr"], version=2))
    with StoreWriter(tmp_path / "features.h5", PARAMETERS) as writer:
        assert writer.find_missing(name_content(0), ("rms", "zcr")) == ("rms", "zcr")


def test_features_are_added_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[4, 2], [5]], PARAMETERS.select(("rms",)))
    with StoreWriter(path, PARAMETERS.select(("zcr",))) as writer:
        assert writer.parameters == PARAMETERS
        assert writer.find_missing(name_content(0), ("rms", "zcr")) == ("zcr",)
        writer.add(name_content(0).sha256, make_extracted(0, [4, 2], ("zcr",)))
        writer.finish([(name_content(0), "a"), (name_content(1), "b")])
    with FeatureStore(path) as store:
        assert store.parameters == PARAMETERS
        assert (store.count_frames("rms").tolist(), store.count_frames("zcr").tolist()) == ([4, 2, 5], [4, 2, 0])
        for segment, frames in enumerate([4, 2]):
            matrices = [make_matrix(0, segment, name, frames) for name in ("rms", "zcr")]
            np.testing.assert_array_equal(store.read(segment), np.hstack(matrices).T)
        np.testing.assert_array_equal(store.read(2, ["rms"]), make_matrix(1, 0, "rms", 5).T)
        with pytest.raises(StoreError, match="lacks features of b: run 'sercli featurize'"):
            store.read(2)
    with StoreWriter(path, PARAMETERS) as writer:
        assert writer.find_missing(name_content(1), PARAMETERS.names) == ("zcr",)


def test_features_of_other_segments_than_the_store_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[4]], PARAMETERS.select(("rms",)))
    with StoreWriter(path, PARAMETERS) as writer, pytest.raises(StoreError, match="other segments of the recording"):
        writer.add(name_content(0).sha256, make_extracted(0, [5], ("zcr",)))


def test_copies_are_contents_of_their_own(tmp_path: Path) -> None:
    path, shift = tmp_path / "features.h5", Augmentation(semitones=1.0)
    with StoreWriter(path, PARAMETERS) as writer:
        writer.add(name_content(0).sha256, make_extracted(0, [4]))
        content = writer.add(name_content(0).sha256, make_extracted(1, [6], augmentation=shift))
        assert content == name_content(0, name_copy(shift))
        assert name_content(1) not in writer
        writer.finish([(name_content(0), "a"), (content, "a")])
    with StoreWriter(path, PARAMETERS) as writer:
        assert writer.find_copies(content.sha256) == [name_copy(shift)]
        assert writer.find_copies(name_content(1).sha256) == []
        assert content in writer


def test_a_journal_cut_anywhere_keeps_what_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    sizes = []
    with StoreWriter(path, PARAMETERS) as writer:
        for number in range(3):
            writer.add(name_content(number).sha256, make_extracted(number, [3 + number, 2]))
            sizes.append(journal_path(path).stat().st_size)
    complete = journal_path(path).read_bytes()
    for cut in [*range(0, len(complete), 37), *sizes, *(size - 1 for size in sizes)]:
        journal_path(path).write_bytes(complete[:cut])
        with StoreWriter(path, PARAMETERS) as writer:
            known = [name_content(number) in writer for number in range(3)]
            assert known == [cut >= size for size in sizes]
            writer.add(name_content(9).sha256, make_extracted(9, [2]))
            writer.finish([(name_content(number), "a") for number in [*range(sum(known)), 9]])
        with FeatureStore(path) as store:
            for number in range(sum(known)):
                expected = [make_matrix(number, 0, name, 3 + number) for name in PARAMETERS.names]
                np.testing.assert_array_equal(store.read(2 * number), np.hstack(expected).T)
            np.testing.assert_array_equal(store.read(len(store) - 1, ["rms"]), make_matrix(9, 0, "rms", 2).T)
        path.unlink()


def test_rows_of_the_old_store_are_kept_and_reordered(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[4], [5], [6, 1]])
    with StoreWriter(path, PARAMETERS) as writer:
        writer.add(name_content(7).sha256, make_extracted(7, [2]))
        writer.finish([(name_content(2), "c"), (name_content(7), "d"), (name_content(0), "a")])
    with FeatureStore(path) as store:
        assert store.count_frames("rms").tolist() == [6, 1, 2, 4]
        assert [row.file for row in store.rows] == ["c", "c", "d", "a"]
        np.testing.assert_array_equal(store.read(1, ["zcr"]), make_matrix(2, 1, "zcr", 1).T)


def test_an_unknown_content_cannot_be_written(tmp_path: Path) -> None:
    write_store(tmp_path / "features.h5", [[4]])
    content = (tmp_path / "features.h5").read_bytes()
    with StoreWriter(tmp_path / "features.h5", PARAMETERS) as writer, pytest.raises(KeyError):
        writer.finish([(name_content(8), "a")])
    assert (tmp_path / "features.h5").read_bytes() == content
    assert sorted(path.name for path in tmp_path.glob("*.tmp")) == []


def test_features_in_a_file_are_read_and_the_file_is_removed(tmp_path: Path) -> None:
    extracted, file = make_extracted(0, [4, 3]), tmp_path / ".features.h5.spill.tmp"
    assert isinstance(extracted.data, bytes)
    with StoreWriter(tmp_path / "features.h5", PARAMETERS) as writer:
        file.write_bytes(extracted.data)
        writer.add(name_content(0).sha256, replace(extracted, data=file))
        assert not file.exists()
        writer.finish([(name_content(0), "a")])
    with FeatureStore(tmp_path / "features.h5") as store:
        np.testing.assert_array_equal(store.read(1, ["zcr"]), make_matrix(0, 1, "zcr", 3).T)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    leftover, other = tmp_path / ".features.h5.abc.tmp", tmp_path / ".other.h5.abc.tmp"
    leftover.touch()
    other.touch()
    with StoreWriter(tmp_path / "features.h5", PARAMETERS):
        assert (leftover.exists(), other.exists()) == (False, True)


def test_a_file_in_the_way_of_the_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    journal_path(path).write_bytes(b"something else")
    for restart in (False, True):
        with pytest.raises(InputError, match="exists but is not a journal"):
            StoreWriter(path, PARAMETERS, restart=restart)
    assert journal_path(path).read_bytes() == b"something else"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with StoreWriter(path, PARAMETERS), pytest.raises(StoreError, match="being written by another"):
        StoreWriter(path, PARAMETERS)
    with StoreWriter(path, PARAMETERS):
        pass


@pytest.mark.parametrize("identity", ["x", '{"audio": 3}', "[]", '{"audio": {"sample_rate": "fast"}}'])
def test_a_damaged_journal_is_replaced_by_a_restart(tmp_path: Path, identity: str) -> None:
    path = tmp_path / "features.h5"
    Journal(journal_path(path), identity).close()
    with pytest.raises(StoreError, match=r"is damaged .*: start over with 'sercli featurize --restart'"):
        StoreWriter(path, PARAMETERS)
    with StoreWriter(path, PARAMETERS, restart=True) as writer:
        writer.add(name_content(0).sha256, make_extracted(0, [3]))
        writer.finish([(name_content(0), "a")])
    with FeatureStore(path) as store:
        assert len(store) == 1


def test_an_interrupted_restart_with_other_parameters_goes_on_without_the_option(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_store(path, [[3]])
    other = replace(PARAMETERS, audio=AudioConfig(denoise=True))
    with StoreWriter(path, other, restart=True) as writer:
        writer.add(name_content(0).sha256, make_extracted(0, [4]))
    with FeatureStore(path) as store:  # as it was, until the new one is finished
        assert store.parameters == PARAMETERS
    with StoreWriter(path, other) as writer:
        assert writer.find_missing(name_content(0), ("rms", "zcr")) == ()
        writer.finish([(name_content(0), name_file(0))])
    with FeatureStore(path) as store:
        assert (store.parameters, store.count_frames("rms").tolist()) == (other, [4])
