"""The published corpora: from original and copied layouts to annotations."""

import shutil
import zipfile
from pathlib import Path

import pytest

from sercli.corpora.corpus import Annotation, LabeledRecordings, Source
from sercli.corpora.prepare import PrepareResult, Request, prepare_corpus
from sercli.corpora.registry import CORPORA, get_corpus, guess_corpus
from sercli.errors import CorpusError
from tests.corpora.datasets.published import SAMPLES, make_published
from tests.corpora.files import touch

# Those that list the names of all their recordings, with how many there are.
COMPLETE = {"ravdess": 1440, "ravdess-song": 1012, "savee": 480, "emovo": 588, "esd": 35_000}

each_corpus = pytest.mark.parametrize("corpus", SAMPLES)


def label_published(folder: Path, corpus: str) -> LabeledRecordings:
    return get_corpus(corpus).label(Source(folder=folder))


def annotations(labeled: LabeledRecordings) -> list[Annotation]:
    return sorted((annotation for _, annotation in labeled.recordings), key=str)


def expect(corpus: str) -> list[Annotation]:
    return sorted(SAMPLES[corpus].recordings.values(), key=str)


def prepare(corpus: str, source: Path, folder: Path) -> PrepareResult:
    return prepare_corpus(
        Request(corpus=get_corpus(corpus), index=folder / "index.csv", data_dir=folder, source=source)
    )


@each_corpus
def test_original_names(tmp_path: Path, corpus: str) -> None:
    sample = SAMPLES[corpus]
    touch(make_published(tmp_path, corpus), *sample.left_out, *sample.refused)
    labeled = label_published(tmp_path, corpus)
    assert {path.relative_to(tmp_path).as_posix(): each for path, each in labeled.recordings} == sample.recordings
    assert {extra.file for extra in labeled.extra} == set(sample.left_out)
    problems = {problem.file: problem.reason for problem in labeled.problems}
    assert problems.keys() == sample.refused.keys()
    for name, reason in sample.refused.items():
        assert reason in problems[name]


@each_corpus
def test_flattened_flac_copies(tmp_path: Path, corpus: str) -> None:
    flat = tmp_path / "flat"
    for path in make_published(tmp_path / "original", corpus, suffix=".flac").rglob("*.*"):
        # A copy of SAVEE without folders puts the speaker into the name.
        name = f"{path.parent.name}_{path.name}" if len(path.parent.name) == 2 and corpus == "savee" else path.name
        touch(flat, name)
        shutil.copyfile(path, flat / name)
    assert annotations(label_published(flat, corpus)) == expect(corpus)


@each_corpus
def test_archive_that_holds_everything_twice(tmp_path: Path, corpus: str) -> None:
    """As Kaggle's archives do, with what macOS adds and one damaged file."""
    names = list(SAMPLES[corpus].recordings)
    original = make_published(tmp_path / "original", corpus)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for place in ("a", "b/b"):
            for path in original.rglob("*.*"):
                archive.write(path, f"{place}/{path.relative_to(original)}")
        archive.writestr(f"__MACOSX/a/{names[0]}", b"no sound")
        archive.writestr(f"a/{Path(names[0]).parent}/._{Path(names[0]).name}", b"no sound")
    outcome = prepare(corpus, tmp_path / "archive.zip", tmp_path / "data")
    assert len(outcome.utterances) == len(outcome.copies) == len(names)
    assert not outcome.problems
    assert not any(utterance.duplicate_of for utterance in outcome.utterances)


@each_corpus
def test_damaged_recording_is_a_problem_and_the_others_are_indexed(tmp_path: Path, corpus: str) -> None:
    name = next(iter(SAMPLES[corpus].recordings))
    (make_published(tmp_path / "original", corpus) / name).write_bytes(b"RIFF")
    outcome = prepare(corpus, tmp_path / "original", tmp_path / "data")
    assert [problem.file for problem in outcome.problems] == [name]
    assert len(outcome.utterances) == len(SAMPLES[corpus].recordings) - 1
    assert outcome.miscounted.keys() == get_corpus(corpus).counts.keys()


@each_corpus
def test_folder_of_another_corpus_is_recognized(tmp_path: Path, corpus: str) -> None:
    make_published(tmp_path / "original", corpus)
    assert guess_corpus(Source(folder=tmp_path / "original")) == corpus
    for other in ("ravdess", "nemo", "iemocap", "emodb"):
        if other != corpus:
            with pytest.raises(CorpusError, match=f"looks like {corpus}: run sercli prepare {corpus} --from ") as told:
                prepare(other, tmp_path / "original", tmp_path / "data")
            assert "\n" not in str(told.value)


def test_folder_of_no_corpus_looks_like_none(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="can be indexed as emodb") as told:
        prepare("emodb", touch(tmp_path / "calls", "monday.wav"), tmp_path / "data")
    assert "looks like" not in str(told.value)


@pytest.mark.parametrize("corpus", COMPLETE)
def test_missing_recordings_are_named(tmp_path: Path, corpus: str) -> None:
    labeled = label_published(make_published(tmp_path, corpus), corpus)
    assert len(labeled.missing) == COMPLETE[corpus] - len(SAMPLES[corpus].recordings)
    assert sum(get_corpus(corpus).counts.values()) == COMPLETE[corpus]


def test_labeled_turns_of_iemocap_that_are_missing_are_named(tmp_path: Path) -> None:
    turn = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    (make_published(tmp_path, "iemocap") / turn).unlink()
    assert label_published(tmp_path, "iemocap").missing == ("Ses01F_impro01_F000",)


def test_iemocap_without_its_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"expected the tables SessionN/dialog/EmoEvaluation/\*\.txt"):
        label_published(touch(tmp_path, "Ses01F_impro01_F000.wav"), "iemocap")


def test_recording_that_is_published_without_speech_is_no_failure(tmp_path: Path) -> None:
    touch(make_published(tmp_path / "original", "crema-d"), "AudioWAV/1076_MTI_SAD_XX.wav")
    outcome = prepare("crema-d", tmp_path / "original", tmp_path / "data")
    assert not outcome.problems
    assert ["has no speech in the published corpus" in extra.reason for extra in outcome.extra] == [True]


def test_lossless_copies_count(tmp_path: Path) -> None:
    touch(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav")
    labeled = label_published(tmp_path, "crema-d")
    assert [path.suffix for path, _ in labeled.recordings] == [".wav"]
    assert [copy.file for copy in labeled.copies] == ["AudioMP3/1001_DFA_ANG_XX.mp3"]


def test_git_lfs_pointers_are_reported(tmp_path: Path) -> None:
    name = "AudioWAV/1001_DFA_ANG_XX.wav"
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 70000\n"
    (make_published(tmp_path / "original", "crema-d") / name).write_text(pointer)
    (problem,) = prepare("crema-d", tmp_path / "original", tmp_path / "data").problems
    assert "git lfs pull" in problem.reason


def test_both_spellings_of_a_misnamed_recording_are_one(tmp_path: Path) -> None:
    labeled = label_published(touch(tmp_path, "OA_bite_neutral.wav", "OAF_bite_neutral.wav"), "tess")
    assert len(labeled.recordings) == len(labeled.copies) == 1


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.protocols])
def test_every_speaker_is_tested_once_by_each_protocol(name: str) -> None:
    corpus = CORPORA[name]
    for protocol in corpus.protocols:
        tested = [speaker for fold in protocol.test_speakers for speaker in fold]
        assert len(tested) == len(set(tested)) == corpus.speakers
        assert all(speaker.startswith(f"{name}-") for speaker in tested)
        assert set(protocol.labels) <= set(corpus.label_map.values())


def test_folds_of_crema_d_are_balanced() -> None:
    from sercli.corpora.datasets.crema_d import ACTORS, CORPUS, FEMALE

    assert len(FEMALE & set(ACTORS)) == 43
    (protocol,) = CORPUS.protocols
    women = [sum(int(actor[-4:]) in FEMALE for actor in fold) for fold in protocol.test_speakers]
    assert sorted(map(len, protocol.test_speakers)) == [18, 18, 18, 18, 19]
    assert max(women) - min(women) <= 1


def test_iemocap_has_its_5531_utterances() -> None:
    from sercli.corpora.datasets.iemocap import CORPUS

    assert sum(CORPUS.counts[label] for label in CORPUS.protocols[0].labels) == 5531
    assert sum(CORPUS.counts.values()) == 10_039 - 2507


@pytest.mark.parametrize("corpus", ["crema-d", "emodb", "emovo", "jl", "shemo", "tess"])
def test_names_in_another_case_are_refused_for_their_case(tmp_path: Path, corpus: str) -> None:
    path = min(SAMPLES[corpus].recordings)
    touch(tmp_path, Path(path).stem.swapcase() + ".wav")
    (problem,) = label_published(tmp_path, corpus).problems
    assert problem.reason.endswith(", in the same upper and lower case")
