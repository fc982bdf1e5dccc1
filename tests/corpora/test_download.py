"""Downloads from a real server on 127.0.0.1 that behaves well or badly."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sercli.cli import console
from sercli.corpora.corpus import PinnedFile
from sercli.corpora.download import RetryPolicy, fetch, is_whole, log
from sercli.errors import DownloadError
from tests.corpora import server
from tests.corpora.server import Answer, Shop, open_shop

pytestmark = pytest.mark.usefixtures("no_proxy")

CONTENT = np.random.default_rng(1).bytes(300_000)
HASTY = RetryPolicy(attempts=3, first_wait=0.01, longest_wait=0.02, timeout=5)


def pin(url: str, content: bytes = CONTENT) -> PinnedFile:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return PinnedFile(url=url, name="file.zip", size=len(content), md5=md5)


class Fetched(NamedTuple):
    path: Path
    shop: Shop


def fetch_from(folder: Path, *answers: Answer, policy: RetryPolicy = HASTY) -> Fetched:
    with open_shop(CONTENT, *answers) as shop:
        return Fetched(fetch(pin(shop.url), folder, policy=policy), shop)


def assert_whole(folder: Path) -> None:
    assert (folder / "file.zip").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["file.zip"]


def test_fetches_and_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with open_shop(CONTENT) as shop:
        path = fetch(pin(shop.url), tmp_path / "new", progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new/file.zip"
    assert_whole(tmp_path / "new")
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert seen == sorted(seen)


def test_reports_progress_before_the_file_exists(tmp_path: Path) -> None:
    exists: list[bool] = []
    with open_shop(CONTENT) as shop:
        fetch(pin(shop.url), tmp_path, progress=lambda *_: exists.append((tmp_path / "file.zip.part").exists()))
    assert not exists[0]
    assert all(exists[1:])


def test_whole_file_is_not_fetched_again(tmp_path: Path) -> None:
    fetch_from(tmp_path)
    assert fetch_from(tmp_path).shop.ranges == []
    assert_whole(tmp_path)


def test_mirror_is_asked_instead(tmp_path: Path) -> None:
    with open_shop(CONTENT) as shop:
        fetch(pin("http://127.0.0.1:9/file.zip"), tmp_path, url=shop.url, policy=HASTY)
    assert_whole(tmp_path)


def test_mirror_with_another_file_is_refused(tmp_path: Path) -> None:
    with open_shop(bytes(len(CONTENT))) as shop, pytest.raises(DownloadError, match="expected"):
        fetch(pin("http://127.0.0.1:9/file.zip"), tmp_path, url=shop.url, policy=HASTY)
    assert list(tmp_path.iterdir()) == []


def test_resumes_what_an_earlier_run_left(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:120_000])
    assert fetch_from(tmp_path).shop.ranges == ["bytes=120000-"]
    assert_whole(tmp_path)


def test_file_cut_by_another_program_is_gone_on_from(tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(CONTENT[:1_000])
    assert fetch_from(tmp_path).shop.ranges == ["bytes=1000-"]
    assert_whole(tmp_path)


@pytest.mark.parametrize("name", ["file.zip", "file.zip.part"])
@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_altered_file_is_fetched_anew(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / name).write_bytes(bytes(size))
    assert fetch_from(tmp_path).shop.ranges == [""]
    assert_whole(tmp_path)


def test_whole_part_only_takes_its_name(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    assert fetch_from(tmp_path).shop.ranges == []
    assert_whole(tmp_path)


def test_cut_connection_is_resumed_where_it_ended(tmp_path: Path) -> None:
    shop = fetch_from(tmp_path, server.cut_after(100_000), server.cut_after(50_000)).shop
    assert shop.ranges == ["", "bytes=100000-", "bytes=150000-"]
    assert_whole(tmp_path)


def test_server_that_ignores_ranges_starts_from_zero(tmp_path: Path) -> None:
    shop = fetch_from(tmp_path, server.cut_after(100_000), server.ignore_range).shop
    assert shop.ranges == ["", "bytes=100000-"]
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        server.claim_range("bytes 7-299999/300000"),
        server.claim_range("bytes */300000"),
        server.claim_range("nonsense"),
        server.claim_range(f"bytes 100000-299999/{'9' * 5_000}"),
        server.claim_range(""),
        server.answer(416),
    ],
    ids=["other start", "unknown range", "nonsense", "endless total", "empty", "416"],
)
def test_wrong_range_starts_from_zero(tmp_path: Path, answer: Answer) -> None:
    shop = fetch_from(tmp_path, server.cut_after(100_000), answer).shop
    assert shop.ranges == ["", "bytes=100000-", ""]
    assert_whole(tmp_path)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_status_is_tried_again(tmp_path: Path, status: int) -> None:
    assert len(fetch_from(tmp_path, server.answer(status)).shop.ranges) == 2
    assert_whole(tmp_path)


def test_wait_the_server_asks_for_is_bounded(tmp_path: Path) -> None:
    # Without the bound the test would take an hour.
    assert len(fetch_from(tmp_path, server.answer(503, Retry_After="3600")).shop.ranges) == 2


def test_gives_up_after_the_attempts_and_keeps_the_part(tmp_path: Path) -> None:
    answers = [server.cut_after(1_000)] * 3
    with open_shop(CONTENT, *answers) as shop:
        with pytest.raises(DownloadError, match="gave up after 3 attempts with 3000 of 300000 bytes"):
            fetch(pin(shop.url), tmp_path, policy=HASTY)
        assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[:3_000]
        fetch(pin(shop.url), tmp_path, policy=HASTY)
    assert shop.ranges[-1] == "bytes=3000-"
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no such file (404)"), (403, "answered 403"), (401, "answered 401"), (302, "answered 302")],
)
def test_refusal_is_not_tried_again(tmp_path: Path, status: int, message: str) -> None:
    with (
        open_shop(CONTENT, server.answer(status)) as shop,
        pytest.raises(DownloadError, match=re.escape(message)) as raised,
    ):
        fetch(pin(shop.url), tmp_path, policy=HASTY)
    assert len(shop.ranges) == 1
    assert shop.url in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_hash_removes_the_file_and_states_both(tmp_path: Path) -> None:
    altered = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with open_shop(altered) as shop, pytest.raises(DownloadError, match="altered or damaged") as raised:
        fetch(pin(shop.url), tmp_path, policy=HASTY)
    assert pin("").md5 in str(raised.value)
    assert pin("", altered).md5 in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_wrong_size_is_refused_before_it_is_fetched(tmp_path: Path, size: int) -> None:
    with (
        open_shop(bytes(size)) as shop,
        pytest.raises(DownloadError, match=f"offers {size} bytes, expected 300000"),
    ):
        fetch(pin(shop.url), tmp_path, policy=HASTY)
    assert len(shop.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_wrong_total_of_a_range_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:1_000])
    with (
        open_shop(CONTENT, server.claim_range("bytes 1000-4999/5000")) as shop,
        pytest.raises(DownloadError, match="offers 5000 bytes"),
    ):
        fetch(pin(shop.url), tmp_path, policy=HASTY)


def test_endless_body_is_cut_off_at_the_size(tmp_path: Path) -> None:
    most = 0

    def note(done: int, _total: int) -> None:
        nonlocal most
        most = max(most, done)

    with (
        open_shop(CONTENT, server.send_endless) as shop,
        pytest.raises(DownloadError, match="sends more than the 300000 bytes"),
    ):
        fetch(pin(shop.url), tmp_path, policy=HASTY, progress=note)
    assert most <= len(CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_silent_server_does_not_hang(tmp_path: Path) -> None:
    policy = replace(HASTY, timeout=0.2, attempts=2)
    stall = server.stall_after(1_000, len(CONTENT))
    with (
        open_shop(CONTENT, stall, stall) as shop,
        pytest.raises(DownloadError, match=re.escape("no answer within 0.2 s")),
    ):
        fetch(pin(shop.url), tmp_path, policy=policy)


def test_no_server_and_each_further_attempt_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_shop(CONTENT) as shop:
        pass
    with (
        console.showing_warnings_of(log),
        pytest.raises(DownloadError, match="gave up after 3 attempts with 0 of 300000 bytes"),
    ):
        fetch(pin(shop.url), tmp_path, policy=HASTY)
    told = capsys.readouterr().err
    assert told.count("warning: ") == 2
    assert "; attempt 2 of 3 in 0 s" in " ".join(told.split())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/file.zip", "nonsense", "http://a\nb/", "file:///etc/passwd"])
def test_an_invalid_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot fetch"):
        fetch(pin(url), tmp_path, policy=HASTY)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "foo://127.0.0.1:1"])
def test_an_invalid_proxy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(DownloadError, match="the proxy of this machine cannot be used"):
        fetch(pin("https://127.0.0.1/file.zip"), tmp_path, policy=HASTY)


def test_invalid_exceptions_from_the_proxy_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "localhost,[::1]")
    with pytest.raises(DownloadError, match="the proxy of this machine cannot be used"):
        fetch(pin("https://127.0.0.1/file.zip"), tmp_path, policy=HASTY)


def test_no_room_is_reported_before_fetching(tmp_path: Path) -> None:
    with open_shop(CONTENT) as shop:
        huge = replace(pin(shop.url), size=shutil.disk_usage(tmp_path).total * 2)
        with pytest.raises(DownloadError, match=re.escape("no room for file.zip")):
            fetch(huge, tmp_path, policy=HASTY)
    assert shop.ranges == []


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_wait=1, longest_wait=5)
    assert [policy.wait_after(attempt) for attempt in range(1, 6)] == [1, 2, 4, 5, 5]
    assert policy.wait_after(1, asked=3) == 3
    assert policy.wait_after(1, asked=3600) == 5


def test_whole_needs_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not is_whole(path, pin(""))
    path.write_bytes(CONTENT)
    assert is_whole(path, pin(""))
    path.write_bytes(bytes(len(CONTENT)))
    assert not is_whole(path, pin(""))
