"""Reading journals of unfinished work from outside, also while somebody writes them."""

import struct
from pathlib import Path

HEAD = struct.Struct("<4sIQI")  # mark, sizes of key and value, checksum


def read_records(path: Path) -> list[tuple[str, bytes]]:
    """Whole records, as keys and values in the order in which they were added."""
    content = path.read_bytes() if path.exists() else b""
    at, records = content.find(b"\n", content.find(b"\n") + 1) + 1, []
    while at and at + HEAD.size <= len(content):
        _, key_size, value_size, _ = HEAD.unpack(content[at : at + HEAD.size])
        start, end = at + HEAD.size + key_size, at + HEAD.size + key_size + value_size
        if end > len(content):
            break
        records.append((content[at + HEAD.size : start].decode(errors="surrogateescape"), content[start:end]))
        at = end
    return records
