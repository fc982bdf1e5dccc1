"""Resumable downloads of files with a known size and checksum."""

import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from sercli.corpora.corpus import PinnedFile
from sercli.errors import DownloadError
from sercli.files import hash_file, one_line
from sercli.progress import Progress

log = logging.getLogger(__name__)

# Transient errors: request timeout, too many requests, and servers in trouble.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to retry a download and when to give up.

    Attributes:
        attempts: Maximum number of requests; a later run resumes where this one has stopped.
        first_wait: Wait before the second request (s), doubled before each later one.
        longest_wait: Maximum wait between requests (s), even if the server asks for more.
        timeout: Time without a connection or without data after which an attempt has failed (s).
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    timeout: float = 30.0

    def wait_after(self, attempt: int, asked: float = 0.0) -> float:
        """Returns the wait after a failed attempt in seconds.

        Args:
            attempt: Number of the attempt, from 1.
            asked: Wait that the server asks for (s).
        """
        return min(max(self.first_wait * 2.0 ** (attempt - 1), asked), self.longest_wait)


class _TransientError(Exception):
    """An attempt failed and the next may succeed; `wait` is what the server asks for (s)."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def ignore_progress(_done: int, _total: int) -> None:
    """Does nothing."""


def is_whole(path: Path, pinned: PinnedFile) -> bool:
    """Whether the file at `path` has the size and the checksum of the pinned file."""
    return path.is_file() and path.stat().st_size == pinned.size and hash_file(path, "md5") == pinned.md5


def fetch(
    pinned: PinnedFile,
    folder: Path,
    *,
    url: str | None = None,
    policy: RetryPolicy | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """Downloads a pinned file unless it is there already, and returns its path.

    Downloads to ``NAME.part``, which is renamed once size and checksum match. Resumes a partial download. Logs a
    warning before each further attempt.

    Args:
        pinned: File to download.
        folder: Folder to download to; made if missing.
        url: Address of a mirror; its file must match the published size and checksum.
        policy: When to retry and when to give up.
        progress: Called before the first byte is written, and as bytes arrive.

    Raises:
        DownloadError: If the server does not deliver the file, or delivers another one.
        OSError: If it cannot be written; what has arrived stays in ``NAME.part``.
    """
    path = folder / pinned.name
    if is_whole(path, pinned):
        return path
    part = folder / f"{pinned.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        # Perhaps another program has downloaded the beginning of it.
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
        opened = httpx.Client(timeout=policy.timeout, follow_redirects=True)
    except (ImportError, ValueError, httpx.InvalidURL) as reason:
        msg = (
            f"the proxy of this machine cannot be used ({one_line(reason)}): set HTTPS_PROXY to an http:// address, "
            "NO_PROXY to names of hosts"
        )
        raise DownloadError(msg) from None
    with opened as client:
        while _size_of(part) < pinned.size:
            attempt += 1
            try:
                _attempt(client, part, pinned, url, progress)
            except _TransientError as reason:
                if attempt >= policy.attempts:
                    msg = (
                        f"{url}: {reason}; gave up after {attempt} attempts with {_size_of(part)} of "
                        f"{pinned.size} bytes: run the same command to resume from there"
                    )
                    raise DownloadError(msg) from None
                wait = policy.wait_after(attempt, reason.wait)
                log.warning("%s: %s; attempt %d of %d in %.0f s", url, reason, attempt + 1, policy.attempts, wait)
                time.sleep(wait)


def _attempt(client: httpx.Client, part: Path, pinned: PinnedFile, url: str, progress: Progress) -> None:
    have = _size_of(part)
    # With compression, sizes and ranges would mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with client.stream("GET", url, headers=headers) as response:
            start = _check_response(response, have, pinned, url, part)
            _write_body(response, part, start, pinned, url, progress)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects, UnicodeError) as reason:
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


def _check_response(response: httpx.Response, have: int, pinned: PinnedFile, url: str, part: Path) -> int:
    """Returns the position of the body in the file; refuses responses that cannot be the file."""
    status = response.status_code
    if status in _TRANSIENT:
        msg = f"the server answered {status} {response.reason_phrase}"
        raise _TransientError(msg, _retry_after(response))
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        part.unlink()
        msg = f"the server rejected the range from byte {have} (416)"
        raise _TransientError(msg)
    if status == httpx.codes.NOT_FOUND:
        msg = f"the server has no such file (404): {url}; another address can be given with --url"
        raise DownloadError(msg)
    if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        msg = f"the server answered {status} {response.reason_phrase} for {url}".replace("  ", " ")
        raise DownloadError(msg)
    if status == httpx.codes.OK:
        start, total = 0, response.headers.get("Content-Length", "")
    else:
        start, total = _parse_content_range(response.headers.get("Content-Range", ""), have, part)
    if total.isdecimal() and total.lstrip("0") != str(pinned.size):
        msg = f"{url} offers {total} bytes, expected {pinned.size}: it is not {pinned.name} as published"
        raise DownloadError(msg)
    return start


def _parse_content_range(text: str, have: int, part: Path) -> tuple[int, str]:
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if not match or int(match[1]) != have:
        part.unlink(missing_ok=True)
        msg = f"the server answers 206 with Content-Range {text!r}, expected it to start at byte {have}"
        raise _TransientError(msg)
    return have, match[3]


def _write_body(
    response: httpx.Response, part: Path, start: int, pinned: PinnedFile, url: str, progress: Progress
) -> None:
    done = start
    progress(done, pinned.size)
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
        # A full disk gives no name.
        raise OSError(reason.errno, reason.strerror, str(part)) from reason
    if done > pinned.size:
        part.unlink()
        msg = f"{url} sends more than the {pinned.size} bytes expected: it is not {pinned.name} as published"
        raise DownloadError(msg)


def _check_hash(part: Path, pinned: PinnedFile, url: str) -> None:
    md5 = hash_file(part, "md5")
    if md5 != pinned.md5:
        part.unlink()
        msg = (
            f"{pinned.name} from {url} has md5 {md5}, expected {pinned.md5}: it was altered or damaged in "
            "transit and has been removed; run the same command to download it again"
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
