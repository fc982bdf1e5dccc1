import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli.audio.segmentation import Segment, read_segments
from sercli.corpora.index import read_index
from sercli.errors import InputError
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.features.utterance import Copy, Failure, Task, extract_degraded, extract_utterance
from sercli.files import hash_file
from tests.features.stores import assert_same_stores, write_long
from tests.sounds import make_tone, read_sample, write_sound

PARAMETERS = StoreParameters()
LOGMEL = PARAMETERS.select(("logmel",))


def test_features_of_long_recordings_go_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write_long(tmp_path / "long.wav", 20)
    parameters = replace(PARAMETERS, segmentation=replace(PARAMETERS.segmentation, method="windows"))
    extract_store(index, tmp_path / "memory.h5", parameters)
    monkeypatch.setattr("sercli.features.utterance.SPILL", 100_000)
    path = tmp_path / "long.wav"
    task = Task(
        path=path,
        file="long.wav",
        sha256=hash_file(path),
        copies=(Copy(augmentation=None, names=("logmel",)), Copy(augmentation=None, names=("rms",))),
        folder=tmp_path,
        prefix=".f.h5.",
    )
    outcome = extract_utterance(task, parameters)
    assert not isinstance(outcome, Failure)
    assert [isinstance(extracted.data, Path) for extracted in outcome] == [True, False]
    in_memory = extract_utterance(replace(task, folder=None), parameters)
    assert not isinstance(in_memory, Failure)
    for extracted, expected in zip(outcome, in_memory, strict=True):
        with extracted.open() as stream:
            assert stream.read() == expected.data
        extracted.discard()
    extract_store(index, tmp_path / "file.h5", parameters)
    assert_same_stores(tmp_path / "memory.h5", tmp_path / "file.h5")
    assert list(tmp_path.glob(".*.tmp")) == []


def test_sides_with_opposite_signs_are_extracted_like_one_of_them(tmp_path: Path) -> None:
    signal = read_sample("man-even.wav").astype(np.float64)
    outcomes, degraded = [], []
    for name, sound in (("mono", signal), ("inverted", np.stack([signal, -signal], axis=1))):
        path = write_sound(tmp_path / f"{name}.wav", sound)
        task = Task(
            path=path, file=path.name, sha256=hash_file(path), copies=(Copy(augmentation=None, names=LOGMEL.names),)
        )
        outcomes.append(extract_utterance(task, LOGMEL))
        degraded.append(extract_degraded(path, hash_file(path), "gsm", LOGMEL))
    mono, inverted = outcomes
    assert not isinstance(mono, Failure)
    assert not isinstance(inverted, Failure)
    assert mono[0].data == inverted[0].data
    for (expected, _), (found, _) in zip(*degraded, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercli.features.utterance.SPILL", 10_000)
    path = tmp_path / "long.wav"
    write_long(path, 20)

    def fail_late(*arguments: Any, **options: Any) -> Any:
        yield from list(read_segments(*arguments, **options))[:1]
        assert list(tmp_path.glob(".f.*.tmp"))
        msg = "the disk fell off"
        raise InputError(msg)

    monkeypatch.setattr("sercli.features.utterance.read_segments", fail_late)
    task = Task(
        path=path,
        file="long.wav",
        sha256=hash_file(path),
        copies=(Copy(augmentation=None, names=("logmel",)),),
        folder=tmp_path,
        prefix=".f.",
    )
    assert extract_utterance(task, LOGMEL) == Failure(file="long.wav", reason="the disk fell off")
    assert list(tmp_path.glob(".f.*.tmp")) == []


def test_workers_import_no_torch() -> None:
    code = (
        "import sys, sercli.features.extraction, sercli.features.utterance\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'librosa', 'sklearn', 'onnxruntime'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("kind", "scored"),
    [
        ("recording", True),
        ("noise", False),
        ("tone", False),
        ("silence", False),
        ("shout", True),
        ("long", True),
        ("tiny", False),
    ],
)
def test_skipping_voice_detection_changes_no_segment(toy: Path, tmp_path: Path, kind: str, scored: bool) -> None:
    """Featurize does without voice activity detection where it changes nothing."""
    path = tmp_path / "a.wav"
    rng = np.random.default_rng(0)
    if kind == "recording":
        index = read_index(toy / "index.csv")
        path = index.path_of(index.utterances[0])
    elif kind == "long":
        write_long(path, 20)
    else:
        envelope = np.clip(np.sin(np.arange(32_000) / 3_000), 0, 1)
        made = {
            "noise": 0.1 * rng.standard_normal(32_000),
            "tone": make_tone(seconds=2.0)[:, 0],
            "silence": np.zeros(32_000),
            "shout": np.clip(5 * rng.standard_normal(32_000) * envelope, -1, 1),
            "tiny": make_tone(seconds=0.01)[:, 0],
        }
        write_sound(path, made[kind])
    expected, found = (
        [
            part
            for part in read_segments(path, PARAMETERS.audio, PARAMETERS.segmentation, skip_vad=skip_vad)
            if isinstance(part, Segment)
        ]
        for skip_vad in (False, True)
    )
    assert [(part.start, part.end) for part in found] == [(part.start, part.end) for part in expected]
    assert bool(found) == scored
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part.signal, other.signal)
