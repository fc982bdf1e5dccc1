import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sercli.errors import InputError
from sercli.journal import Journal, read_identity


def fill(path: Path, count: int) -> list[int]:
    """Adds values and returns the size of the file after each."""
    sizes = []
    with Journal(path, "work") as journal:
        for number in range(count):
            journal.append(f"kä y{number}", bytes([number]) * (3 + number))
            sizes.append(path.stat().st_size)
    return sizes


def test_values_survive_without_a_commit_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "work")
    journal.append("a", b"one")
    journal.append("b", b"")
    journal.append("a", b"two")
    assert journal["a"] == b"two"
    with Journal(tmp_path / "j", "work") as other:  # as after the end of the first process
        assert list(other) == ["a", "b"]
        assert (other["a"], other["b"], len(other)) == (b"two", b"", 2)
        other.append("c", b"three")
        assert (other["a"], other["c"]) == (b"two", b"three")
    journal.close()


def test_one_thread_may_read_while_another_adds(tmp_path: Path) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with Journal(tmp_path / "j", "work") as journal, ThreadPoolExecutor(1) as reader:
            for number in range(100):
                journal.append(f"old {number}", b"old" * 999)
            read = reader.submit(lambda: [journal[f"old {number % 100}"] == b"old" * 999 for number in range(3000)])
            for number in range(1500):
                journal.append(f"new {number}", b"new" * 999)
            assert all(read.result())
    finally:
        sys.setswitchinterval(interval)
    with Journal(tmp_path / "j", "work") as journal:
        assert [journal[key] for key in journal] == [b"old" * 999] * 100 + [b"new" * 999] * 1500


def test_a_journal_cut_at_any_byte_keeps_all_intact_records(tmp_path: Path) -> None:
    path = tmp_path / "j"
    sizes = fill(path, 4)
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        with Journal(path, "work") as journal:
            assert list(journal) == [f"kä y{number}" for number in range(4) if cut >= sizes[number]]
            journal.append("new", b"value")
        with Journal(path, "work") as journal:
            assert journal["new"] == b"value"
            for number in range(len(journal) - 1):
                assert journal[f"kä y{number}"] == bytes([number]) * (3 + number)


@pytest.mark.parametrize("position", [-1, -4, -16, -20])
def test_a_flipped_byte_costs_that_record_and_never_gives_a_wrong_value(tmp_path: Path, position: int) -> None:
    fill(tmp_path / "j", 2)
    content = bytearray((tmp_path / "j").read_bytes())
    content[position] ^= 0xFF
    (tmp_path / "j").write_bytes(content)
    with Journal(tmp_path / "j", "work") as journal:
        assert list(journal) == ["kä y0"]


def test_values_of_other_work_are_dropped_and_can_be_recognized_before(tmp_path: Path) -> None:
    fill(tmp_path / "j", 1)
    assert read_identity(tmp_path / "j") == "work"
    assert read_identity(tmp_path / "missing") is None
    with Journal(tmp_path / "j", "other") as journal:
        assert list(journal) == []
    assert read_identity(tmp_path / "j") == "other"


def test_restart_drops_everything(tmp_path: Path) -> None:
    fill(tmp_path / "j", 1)
    with Journal(tmp_path / "j", "work", restart=True) as journal:
        assert list(journal) == []


@pytest.mark.parametrize("content", [b"something else", b"sercli journal 2\nx\n", b"\n"])
def test_a_file_that_is_not_a_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(InputError, match="move it away"):
        Journal(tmp_path / "j", "work", restart=True)
    assert (tmp_path / "j").read_bytes() == content


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "work")
    journal.append("a", b"1")
    journal.remove()
    assert list(tmp_path.iterdir()) == []
