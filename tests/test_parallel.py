import os
import signal
import time
from collections.abc import Generator, Iterator
from typing import cast

import pytest
import torch

from sercli.errors import InputError
from sercli.parallel import limit_threads, map_in_order


def halve(number: float) -> float:
    time.sleep(0.01)
    return number / 2


def test_stopped_early_in_worker_processes_it_says_nothing() -> None:
    given: list[float] = []

    def count() -> Iterator[float]:
        for number in range(1000):
            given.append(number)
            yield number

    results = cast("Generator[float]", map_in_order(halve, count(), jobs=2))
    assert [next(results) for _ in range(3)] == [0.0, 0.5, 1.0]
    time.sleep(0.1)  # for results that will never be taken
    results.close()  # joblib's warning would be an error here
    assert len(given) < 1000


def test_results_come_in_the_order_of_the_tasks() -> None:
    expected = [number / 2 for number in range(20)]
    assert list(map_in_order(halve, range(20), jobs=2)) == expected
    assert list(map_in_order(halve, range(20))) == expected


def end(number: float) -> float:
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_worker_that_is_killed_is_said_in_a_line() -> None:
    with pytest.raises(InputError, match=r"a worker process was killed.* fewer --jobs"):
        list(map_in_order(end, range(4), jobs=2))


def test_threads_are_put_back_whoever_leaves_last() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, two = limit_threads(1), limit_threads(1)
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        assert torch.get_num_threads() == 1
        two.__exit__(None, None, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
