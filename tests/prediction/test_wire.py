import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.segments import Segment
from sercli.prediction.analysis import Analysis, Channel, Finding, Piece, Progress
from sercli.prediction.wire import read_finding, write_finding

reals = st.floats(0, 1e9)
texts = st.text(st.characters(exclude_categories=["Cs"]))
channels = st.builds(Channel, name=texts, speech=reals, warnings=st.lists(texts, max_size=2).map(tuple))
analyses = st.builds(
    Analysis, duration=reals, channels=st.lists(channels, max_size=3).map(tuple), sha256=texts, error=texts
)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    shape = draw(st.tuples(st.integers(0, 5), st.integers(0, 40)))
    features = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    if draw(st.booleans()):
        features = np.asfortranarray(features)  # as a transposed matrix is
    segment = Segment(start=draw(reals), end=draw(reals), speech=draw(reals))
    return Piece(channel=draw(texts), segment=segment, features=features)


findings = pieces() | st.builds(Progress, seconds=reals) | analyses


def send(*found: tuple[int, Finding]) -> bytes:
    stream = io.BytesIO()
    for task, finding in found:
        write_finding(stream, task, finding)
    return stream.getvalue()


def same(one: Finding, other: Finding) -> bool:
    if isinstance(one, Piece) and isinstance(other, Piece):
        return (
            (one.channel, one.segment) == (other.channel, other.segment)
            and one.features.dtype == other.features.dtype
            and np.array_equal(one.features, other.features)
        )
    return one == other


@settings(deadline=None)
@given(sent=st.lists(st.tuples(st.integers(0, 10**9), findings), max_size=4))
def test_findings_come_back_in_order(sent: list[tuple[int, Finding]]) -> None:
    stream = io.BytesIO(send(*sent))
    for task, finding in sent:
        received = read_finding(stream)
        assert received is not None
        assert received[0] == task
        assert same(received[1], finding)
    assert read_finding(stream) is None


@settings(deadline=None, max_examples=30)
@given(whole=findings, last=findings)
def test_a_stream_that_breaks_off_ends_after_the_last_whole_finding(whole: Finding, last: Finding) -> None:
    first = send((1, whole))
    content = first + send((2, last))
    for cut in range(len(first), len(content)):
        stream = io.BytesIO(content[:cut])
        received = read_finding(stream)
        assert received is not None
        assert same(received[1], whole)
        assert read_finding(stream) is None


def test_features_can_be_written_to() -> None:
    segment = Segment(start=0.0, end=1.0, speech=1.0)
    piece = Piece(channel="mix", segment=segment, features=np.ones((2, 3), np.float32))
    received = read_finding(io.BytesIO(send((0, piece))))
    assert received is not None
    assert isinstance(received[1], Piece)
    received[1].features[0, 0] = 2


@pytest.mark.parametrize("line", [b"", b"frame= 12", b"null", b"5", b'"x"', b"[]", b"{}", b'{"task": 1}', b"\xff\xfe"])
def test_what_is_no_finding_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_finding(io.BytesIO(line + b"\n"))


@pytest.mark.parametrize("shape", [[1], [1, 2, 3], [-2, -3], [-1, 4], ["x", 1], None, [2**40, 2**40]])
def test_a_piece_of_an_impossible_shape_is_refused(shape: object) -> None:
    segment = {"start": 0.0, "end": 1.0, "speech": 1.0}
    header = {"task": 0, "kind": "Piece", "channel": "mix", "segment": segment, "shape": shape}
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_finding(io.BytesIO(json.dumps(header).encode() + b"\n" + bytes(96)))
