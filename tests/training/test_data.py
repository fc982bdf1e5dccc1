from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sercli.corpora.index import Index, read_index
from sercli.errors import StoreError
from sercli.features.extraction import extract_store
from sercli.features.frontend import FeatureConfig
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.models.normalizer import Normalizer
from sercli.training.data import Batches, CorpusFeatures
from tests.toy_index import index_toy

CPU = torch.device("cpu")
NAMES = ("mfcc", "logmel")
WINDOWS = StoreParameters(features=FeatureConfig(names=NAMES))
WINDOWS = replace(WINDOWS, segmentation=replace(WINDOWS.segmentation, method="windows", max_segment=0.4, hop=0.3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve utterances of 0.6 s with two copies each, in segments of 0.4 s."""
    folder = tmp_path_factory.mktemp("data")
    index = index_toy(folder, speakers=3, takes=1)
    extract_store(index, folder / "features.h5", WINDOWS, copies=2)
    return folder


@pytest.fixture(scope="module")
def index(data: Path) -> Index:
    return read_index(data / "index.csv")


@pytest.fixture(scope="module")
def corpus(data: Path, index: Index) -> CorpusFeatures:
    return CorpusFeatures(index, data / "features.h5", NAMES)


def make_batches(corpus: CorpusFeatures, copies: int = 0) -> tuple[Batches, Normalizer]:
    members = range(len(corpus.index))
    normalizer = corpus.fit_normalizer(members)
    return corpus.batches(members, normalizer, copies=copies, device=CPU), normalizer


def test_every_segment_is_an_example_of_its_utterance(corpus: CorpusFeatures) -> None:
    with FeatureStore(corpus.index.folder / "features.h5") as store:
        originals = [row for row in store.rows if not row.augmentation]
        assert len(originals) > len(corpus.index)
        for copies, rows in ((0, originals), (2, store.rows)):
            batches, normalizer = make_batches(corpus, copies)
            assert len(batches) == len(rows)
            assert [utterance.sha256 for utterance in batches.utterances] == [row.sha256 for row in rows]
            assert [corpus.labels[n] for n in batches.truth.tolist()] == [u.emotion for u in batches.utterances]
            seen = []
            for positions, features, lengths in batches.in_order(5):
                for position, matrix, length in zip(positions, features, lengths.tolist(), strict=True):
                    stored = store.read(store.rows.index(rows[position]), NAMES).T
                    assert length == len(stored)
                    np.testing.assert_array_equal(matrix[:, :length].T, normalizer.apply(stored))
                    assert not matrix[:, length:].any()
                seen += positions
            assert sorted(seen) == list(range(len(batches)))


def test_shuffled_batches_depend_on_the_generator_alone(corpus: CorpusFeatures) -> None:
    batches, _ = make_batches(corpus, copies=1)

    def draw(seed: int) -> list[torch.Tensor]:
        drawn = list(batches.shuffled(8, torch.Generator().manual_seed(seed)))
        assert sum(len(truth) for _, _, truth, _ in drawn) == len(batches)
        assert len(drawn) == batches.count_batches(8)
        return [features for features, *_ in drawn]

    first, again, other = draw(1), draw(1), draw(2)
    for one, two in zip(first, again, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert [part.sum().item() for part in first] != [part.sum().item() for part in other]


def test_a_batch_of_one_is_left_out_unless_it_is_the_only_one(corpus: CorpusFeatures) -> None:
    batches, _ = make_batches(corpus)
    size = len(batches) - 1
    assert [len(truth) for _, _, truth, _ in batches.shuffled(size, torch.Generator().manual_seed(0))] == [size]
    single = corpus.batches([0], corpus.fit_normalizer([0]), device=CPU)
    single = replace(
        single, rows=single.rows[:1], lengths=single.lengths[:1], truth=single.truth[:1], allowed=single.allowed[:1]
    )
    assert [len(truth) for _, _, truth, _ in single.shuffled(4, torch.Generator().manual_seed(0))] == [1]


def test_the_normalizer_sees_every_frame_of_these_utterances_once(corpus: CorpusFeatures) -> None:
    frames = np.concatenate([matrix.T for member in (1, 3) for matrix, _ in corpus.segments(member)]).astype(np.float64)
    normalizer = corpus.fit_normalizer([1, 3])
    np.testing.assert_allclose(normalizer.mean, frames.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(normalizer.std, frames.std(axis=0), rtol=1e-4)


def test_segments_are_scored_as_they_are_stored(corpus: CorpusFeatures) -> None:
    with FeatureStore(corpus.index.folder / "features.h5") as store:
        for member, utterance in enumerate(corpus.index.utterances):
            rows = [n for n, row in enumerate(store.rows) if (row.sha256, row.augmentation) == (utterance.sha256, "")]
            segments = corpus.segments(member)
            assert segments
            assert [speech for _, speech in segments] == [store.rows[row].speech for row in rows]
            for (matrix, _), row in zip(segments, rows, strict=True):
                assert matrix.dtype == np.float16
                np.testing.assert_array_equal(matrix, store.read(row, NAMES))


def test_an_utterance_is_described_by_content_label_and_the_copies_used(corpus: CorpusFeatures) -> None:
    utterance = corpus.index.utterances[0]
    descriptions = [corpus.describe(0, copies=copies, masked=False) for copies in (0, 1, 2)]
    assert descriptions[0] == [utterance.sha256, utterance.emotion]
    assert descriptions[1] == descriptions[2][:3]
    assert "librosa" in descriptions[2][2]


def test_a_store_that_is_replaced_meanwhile_stays_readable(data: Path, index: Index, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    path.write_bytes((data / "features.h5").read_bytes())
    with CorpusFeatures(index, path, NAMES) as corpus:
        before = corpus.segments(2)
        extract_store(index, path, WINDOWS.select(("logmel",)), restart=True)
        for (matrix, _), (expected, _) in zip(corpus.segments(2), before, strict=True):
            np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda i, s: CorpusFeatures(i, s, ("mfcc", "logmel", "chroma")), "lacks chroma of 12 of 12 .*--recipe paper'"),
        (lambda i, s: CorpusFeatures(i, s, ("logmel",), copies=3), "has 2 of 3 augmented copies of .*--recipe"),
        (
            lambda i, s: CorpusFeatures(i, s, ("logmel",)).list_copies(0, 3),
            r"has 2 of 3 augmented copies of .*Actor.*: add them with 'sercli featurize --recipe",
        ),
    ],
)
def test_what_a_store_lacks_is_named_with_the_command_that_adds_it(
    data: Path, index: Index, use: Callable[[Index, Path], object], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        use(index, data / "features.h5")


def test_the_command_for_the_default_recipe_needs_no_option(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    extract_store(index, path, WINDOWS.select(("mfcc",)))
    with pytest.raises(StoreError, match="lacks logmel of 12 of 12 utterances: add it with 'sercli featurize'"):
        CorpusFeatures(index, path, ("logmel",))
    part = Index(folder=index.folder, utterances=index.utterances[:4])
    extract_store(part, path, WINDOWS.select(("logmel",)))
    with CorpusFeatures(index, path, ("logmel",)) as corpus:
        assert len(corpus.index) == 4
        assert corpus.missing == tuple(utterance.file for utterance in index.utterances[4:])


def test_a_store_of_other_utterances_is_refused(data: Path, index: Index) -> None:
    strangers = tuple(replace(utterance, sha256="0" * 64) for utterance in index.utterances)
    with pytest.raises(StoreError, match="no utterance of the index: run 'sercli featurize'"):
        CorpusFeatures(replace(index, utterances=strangers), data / "features.h5", NAMES)


def test_a_feature_that_is_added_is_no_other_training(data: Path, index: Index, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    extract_store(index, path, WINDOWS.select(("logmel",)))
    with CorpusFeatures(index, path, ("logmel",)) as corpus:
        before = corpus.parameters
    extract_store(index, path, WINDOWS)
    with CorpusFeatures(index, path, ("logmel",)) as corpus:
        assert corpus.parameters == before
