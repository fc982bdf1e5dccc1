"""A loss over the labels that the corpus of an utterance has."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sercli.corpora.index import read_index, write_index
from sercli.training.augmentation import smooth_labels
from sercli.training.data import CorpusFeatures
from sercli.training.loop import Teacher, masked_cross_entropy
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import TeacherConfig
from sercli.training.train import train
from tests.toy_index import featurize_toy

LABELS = ("neutral", "happy", "sad", "angry")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two corpora; the second one has no sad utterance."""
    folder = featurize_toy(tmp_path_factory.mktemp("data"), takes=1, copies=0)
    index = read_index(folder / "index.csv")
    utterances = (
        replace(u, corpus="other" if u.speaker[-1] in "456" else u.corpus)
        for u in index.utterances
        if u.speaker[-1] in "123" or u.emotion != "sad"
    )
    write_index(
        folder / "index.csv", replace(index, utterances=tuple(sorted(utterances, key=lambda u: (u.corpus, u.file))))
    )
    return folder


def test_examples_have_the_labels_of_their_corpus(data: Path) -> None:
    with CorpusFeatures(read_index(data / "index.csv"), data / "features.h5", ("logmel",)) as corpus:
        assert corpus.labels == LABELS
        members = range(len(corpus.index))
        batches = corpus.batches(members, corpus.fit_normalizer(members), device=torch.device("cpu"))
        sad = batches.allowed[:, LABELS.index("sad")].tolist()
        assert sad == [utterance.corpus == "ravdess" for utterance in batches.utterances]
        assert batches.allowed.sum().item() == 12 * 4 + 9 * 3
        for *_, truth, allowed in batches.shuffled(4, torch.Generator().manual_seed(0)):
            assert allowed[torch.arange(len(truth)), truth].all()


def test_a_label_that_a_corpus_lacks_is_neither_punished_nor_smoothed() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    allowed = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    targets = smooth_labels(torch.tensor([0, 0]), 0.3, allowed)
    torch.testing.assert_close(targets, torch.tensor([[0.85, 0.15, 0.0], [0.8, 0.1, 0.1]]))
    loss = masked_cross_entropy(logits, targets, allowed)
    torch.testing.assert_close(loss, torch.tensor([2.0, 3.0]).log().mean())
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 2] == 0
    assert logits.grad[1, 2] > 0
    plain = torch.nn.functional.cross_entropy(logits, targets)
    torch.testing.assert_close(masked_cross_entropy(logits, targets, torch.ones(2, 3)), plain)


def test_a_teacher_says_nothing_about_a_label_that_a_corpus_lacks() -> None:
    class Certain(torch.nn.Module):
        def forward(self, features: torch.Tensor, n_frames: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            return torch.tensor([[0.0, 0.0, 9.0]] * len(features))

    teacher = Teacher(network=Certain(), config=TeacherConfig(temperature=3.0, weight=1.0))
    allowed = torch.tensor([[1, 1, 0], [1, 1, 1]])
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = teacher.blend(torch.tensor(0.0), logits, torch.zeros(2, 1, 1), torch.ones(2), allowed)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss.detach(), 9 * torch.tensor([2.0, 3.0]).log().mean())
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0  # it finds the other two equally likely, and so does the student
    assert logits.grad[1, 2] < 0


def test_a_masked_training_with_mixed_utterances_ends_in_a_model_of_all_labels(data: Path, tmp_path: Path) -> None:
    default = RECIPES["default"]
    recipe = replace(
        default,
        network=replace(default.network, channels=(8,), lstm_size=8, dense_size=16),
        training=replace(default.training, max_epochs=2, batch_size=4, masked=True),
    )
    result = train(data / "index.csv", data / "features.h5", recipe, tmp_path / "m", device="cpu")
    assert result.trained.model.labels == LABELS
    assert all(0 < record.train_loss < 3 for record in result.trained.members[0].history)
