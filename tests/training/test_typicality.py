import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.features.utterance import extract_degraded
from sercli.models.model import Model, average_segments, load_model
from sercli.splits.development import make_training_split
from sercli.training.data import CorpusFeatures
from sercli.training.train import train
from sercli.training.typicality import Segments
from tests.training.toy import (
    SMALL,
    run_train,
)


def test_typicality_is_the_share_of_development_utterances_at_least_as_far(
    data: Path, index: Index, features: CorpusFeatures, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    run_train(data, out, SMALL.with_max_epochs(1))
    model, dev = load_model(out), make_training_split(index, 1).dev
    assert model.typicality
    plain = measure_typicality(model, map(features.segments, dev))
    utterances = [index.utterances[member] for member in dev]
    telephone = measure_typicality(
        model, (extract_degraded(index.path_of(u), u.sha256, "telephone", model.parameters) for u in utterances)
    )
    np.testing.assert_allclose(sorted([*plain, *telephone]), np.linspace(0, 1, 2 * len(dev)), atol=0.01)
    assert max(telephone) > 0.5
    train = measure_typicality(model, map(features.segments, make_training_split(index, 1).train))
    assert np.mean(train) > 0.5  # what was trained on is nearer than other speakers


def measure_typicality(model: Model, utterances: Iterable[Segments]) -> list[float]:
    assert model.typicality
    found = []
    for segments in utterances:
        matrices, speech = zip(*segments, strict=True)
        distances = model.typicality.measure_distances(model.run(matrices)[1])
        found.append(model.typicality.measure(float(average_segments(distances, speech))))
    return found


def test_typicality_does_without_recordings(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "index.csv", tmp_path)
    train(tmp_path / "index.csv", data / "features.h5", SMALL.with_max_epochs(1), tmp_path / "m", device="cpu")
    typicality = load_model(tmp_path / "m").typicality
    assert typicality
    assert (typicality.telephone, len(typicality.distances)) == ((), 101)
