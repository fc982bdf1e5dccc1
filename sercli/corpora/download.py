"""Fetching a pinned file: resumed where it broke off, whole by size and hash, or not there at all."""

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from sercli.corpora.base import PinnedFile
from sercli.errors import DownloadError
from sercli.files import hash_file, one_line

Progress = Callable[[int, int], None]
"""Is told how much is done and how much there is, here in bytes."""

# Request timeout, too many requests, and a server in trouble: what may be well a moment later.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a download is tried.

    Attributes:
        attempts: requests at most; a later run goes on from where this one stopped.
        first_wait: seconds before the second request; doubled before each one after it.
        longest_wait: seconds between requests at most, also where the server asks for more.
        timeout: seconds without a byte, or without a connection, after which an attempt has failed.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    timeout: float = 30.0

    def wait_after(self, attempt: int, asked: float = 0.0) -> float:
        """Seconds to wait after an attempt, counted from 1, that failed.

        Args:
            attempt: that failed.
            asked: what the server asks for, in seconds.
        """
        return min(max(self.first_wait * 2.0 ** (attempt - 1), asked), self.longest_wait)


class _TransientError(Exception):
    """An attempt failed in a way that the next may not; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def ignore_progress(_done: int, _total: int) -> None:
    """Takes progress and does nothing."""


def is_whole(path: Path, pinned: PinnedFile) -> bool:
    """Whether the file at `path` has the size and the hash of the pinned one."""
    return path.is_file() and path.stat().st_size == pinned.size and hash_file(path, "md5") == pinned.md5


def fetch(
    pinned: PinnedFile,
    folder: Path,
    *,
    url: str | None = None,
    policy: RetryPolicy | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """Downloads a pinned file unless it is there, and returns its path.

    The bytes go into ``NAME.part``, which takes its name only when size and hash are right. What an
    interrupted run left there is gone on from.

    Args:
        pinned: the file.
        folder: where it goes; made when missing.
        url: of a mirror; the same size and hash are demanded of it.
        policy: when to try again and when to give up.
        progress: is told bytes.

    Raises:
        DownloadError: if the server does not deliver the file, or delivers another one.
        OSError: if it cannot be written; what was fetched stays in ``NAME.part``.
    """
    path = folder / pinned.name
    if is_whole(path, pinned):
        return path
    part = folder / f"{pinned.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        # Cut short by another program, perhaps: a beginning that is right saves fetching it.
        path.replace(part)
    _fetch_part(part, pinned, url or pinned.url, policy or RetryPolicy(), progress)
    _check_hash(part, pinned, url or pinned.url)
    part.replace(path)
    return path


def _fetch_part(part: Path, pinned: PinnedFile, url: str, policy: RetryPolicy, progress: Progress) -> None:
    if _size_of(part) >= pinned.size and not is_whole(part, pinned):
        part.unlink()
    _check_room(part, pinned)
    attempt = 0
    try:
        made = httpx.Client(timeout=policy.timeout, follow_redirects=True)
    except (ImportError, ValueError) as reason:
        msg = f"the proxy of this machine cannot be used ({one_line(reason)}): set HTTPS_PROXY to an http:// address"
        raise DownloadError(msg) from None
    with made as client:
        while _size_of(part) < pinned.size:
            attempt += 1
            try:
                _attempt(client, part, pinned, url, progress)
            except _TransientError as reason:
                if attempt >= policy.attempts:
                    msg = (
                        f"{url}: {reason}; gave up after {attempt} attempts with {_size_of(part)} of "
                        f"{pinned.size} bytes: run the same command to go on from there"
                    )
                    raise DownloadError(msg) from None
                time.sleep(policy.wait_after(attempt, reason.wait))


def _attempt(client: httpx.Client, part: Path, pinned: PinnedFile, url: str, progress: Progress) -> None:
    have = _size_of(part)
    # Compression would make sizes and ranges mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with client.stream("GET", url, headers=headers) as response:
            start = _where_it_starts(response, have, pinned, url, part)
            _write_body(response, part, start, pinned, url, progress)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as reason:
        msg = one_line(f"cannot fetch {url}: {reason}")
        raise DownloadError(msg) from None
    except httpx.TimeoutException as reason:
        msg = f"no answer within {client.timeout.read:g} s ({type(reason).__name__})"
        raise _TransientError(msg) from None
    except httpx.HTTPError as reason:
        raise _TransientError(one_line(reason)) from None
    if _size_of(part) < pinned.size:
        msg = f"the connection ended at {_size_of(part)} of {pinned.size} bytes"
        raise _TransientError(msg)


def _where_it_starts(response: httpx.Response, have: int, pinned: PinnedFile, url: str, part: Path) -> int:
    """Position in the file of the body's first byte; refuses answers that cannot be the file."""
    status = response.status_code
    if status in _TRANSIENT:
        msg = f"the server answers {status} {response.reason_phrase}"
        raise _TransientError(msg, _retry_after(response))
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        part.unlink()
        msg = f"the server has nothing from byte {have} on (416)"
        raise _TransientError(msg)
    if status == httpx.codes.NOT_FOUND:
        msg = f"the server has no such file (404): {url}; another address can be given with --url"
        raise DownloadError(msg)
    if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        msg = f"the server answers {status} {response.reason_phrase} for {url}".replace("  ", " ")
        raise DownloadError(msg)
    if status == httpx.codes.OK:
        start, total = 0, response.headers.get("Content-Length", "")
    else:
        start, total = _parse_content_range(response.headers.get("Content-Range", ""), have, part)
    if total.isdigit() and int(total) != pinned.size:
        msg = f"{url} offers {total} bytes, expected {pinned.size}: it is not {pinned.name} as published"
        raise DownloadError(msg)
    return start


def _parse_content_range(text: str, have: int, part: Path) -> tuple[int, str]:
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if not found or int(found[1]) != have:
        part.unlink(missing_ok=True)
        msg = f"the server answers 206 with Content-Range {text!r}, expected it to start at byte {have}"
        raise _TransientError(msg)
    return have, found[3]


def _write_body(
    response: httpx.Response, part: Path, start: int, pinned: PinnedFile, url: str, progress: Progress
) -> None:
    done = start
    try:
        with part.open("ab" if start else "wb") as stream:
            for block in response.iter_raw():
                done += len(block)
                if done > pinned.size:
                    break
                stream.write(block)
                progress(done, pinned.size)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as reason:
        # A full disk says so without a name.
        raise OSError(reason.errno, reason.strerror, str(part)) from reason
    if done > pinned.size:
        part.unlink()
        msg = f"{url} sends more than the {pinned.size} bytes expected: it is not {pinned.name} as published"
        raise DownloadError(msg)


def _check_hash(part: Path, pinned: PinnedFile, url: str) -> None:
    found = hash_file(part, "md5")
    if found != pinned.md5:
        part.unlink()
        msg = (
            f"{pinned.name} from {url} has md5 {found}, expected {pinned.md5}: it was altered or damaged on "
            "the way and is removed; run the same command to fetch it anew"
        )
        raise DownloadError(msg)


def _check_room(part: Path, pinned: PinnedFile) -> None:
    free, needed = shutil.disk_usage(part.parent).free, pinned.size - _size_of(part)
    if free < needed:
        msg = f"no room for {pinned.name} in {part.parent}: it needs {needed} bytes, {free} are free"
        raise DownloadError(msg)


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
