"""featurize on a real Dask cluster, with and without the loss of a worker."""

import signal
from pathlib import Path

import pytest

from sercli.errors import InputError, UsageError
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from tests.command import run_sercli
from tests.dask_cluster import Cluster
from tests.features.stores import assert_same_stores
from tests.toy_index import index_toy

PARAMETERS = StoreParameters()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_cluster_that_loses_a_worker_makes_the_same_store(cluster: Cluster, tmp_path: Path) -> None:
    index = index_toy(tmp_path / "data", speakers=6, takes=2)
    extract_store(index, tmp_path / "local.h5", PARAMETERS, copies=1, jobs=2)
    seen: list[int] = []

    def kill_one_in_the_middle(done: int, total: int) -> None:
        seen.append(done)
        if done == total // 3:
            cluster.workers[0].send_signal(signal.SIGKILL)
            cluster.workers[0].wait()

    summary = extract_store(
        index,
        tmp_path / "dask.h5",
        PARAMETERS,
        copies=1,
        cluster=cluster.address,
        progress=kill_one_in_the_middle,
    )
    assert cluster.workers[0].returncode == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
    assert seen == list(range(1, len(index) + 1))
    assert summary.failures == ()
    assert_same_stores(tmp_path / "local.h5", tmp_path / "dask.h5")


def test_the_command_uses_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    index_toy(tmp_path / "data", speakers=2, takes=2)
    status, out, err = run_sercli("featurize", "--dask", cluster.address, "--store", "dask.h5", cwd=tmp_path)
    assert (status, out) == (0, ""), err
    assert run_sercli("featurize", "--store", "local.h5", cwd=tmp_path)[0] == 0
    assert_same_stores(tmp_path / "local.h5", tmp_path / "dask.h5")


def test_an_empty_address_is_wrong_usage(tmp_path: Path) -> None:
    index = index_toy(tmp_path / "data", speakers=1, takes=1)
    with pytest.raises(UsageError, match="expected the address of a Dask scheduler"):
        extract_store(index, tmp_path / "f.h5", PARAMETERS, cluster="")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercli.parallel.CONNECT_TIMEOUT", 1)
    index = index_toy(tmp_path / "data", speakers=1, takes=1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        extract_store(index, tmp_path / "f.h5", PARAMETERS, cluster="tcp://127.0.0.1:9")
    assert not list(tmp_path.glob("f.h5*")), "an empty journal is of no use"
