"""predict on a real Dask cluster."""

import signal
from pathlib import Path

import pytest
from sercli.audio.cutters import Cutting

from sercli.prediction.predictor import Predictor
from tests.dask_cluster import Cluster
from tests.sounds import write_tone
from tests.toy_model import make_model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_paths_are_those_of_the_caller_and_not_of_the_workers(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers stay where they were started
    write_tone(Path("calls/a.wav"), seed=1)
    predictor = Predictor(make_model(tmp_path / "m"), cutting=Cutting(vad=False))
    (row,) = predictor.predict_many(["calls/a.wav"], cluster=cluster.address)
    assert (row.file, row.status, row.error) == ("calls/a.wav", "ok", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_cluster_that_loses_a_worker_gives_the_same_rows(cluster: Cluster, tmp_path: Path) -> None:
    recordings = [write_tone(tmp_path / f"{n:03}.wav", frequency=150 + 5 * n, seed=n) for n in range(150)]
    (tmp_path / "broken.wav").write_text("no sound")
    recordings.insert(70, tmp_path / "broken.wav")
    predictor = Predictor(make_model(tmp_path / "m"), cutting=Cutting(vad=False))
    local = list(predictor.predict_many(recordings))
    rows = []
    for row in predictor.predict_many(recordings, cluster=cluster.address):
        rows.append(row)
        if len(rows) == 10:
            cluster.workers[0].send_signal(signal.SIGKILL)
    assert [row.file for row in rows] == [row.file for row in local]
    assert [row.status for row in rows] == [row.status for row in local]
    for row, expected in zip(rows, local, strict=True):
        assert row.emotion == expected.emotion
        assert row.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
