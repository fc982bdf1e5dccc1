"""Whose voice is in each recording, for normalisation by speaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sercli.audio.cutters import MIX
from sercli.errors import InputError
from sercli.prediction.discovery import Recording
from sercli.prediction.truth import match_recordings, read_column

FOLDER, CHANNEL = "folder", "channel"
"""Given in place of a table: one speaker a folder, on each channel; or another one in every channel of every recording.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speakers:
    """Who speaks.

    Attributes:
        names: the speaker of each recording that has one, by the recording's name; where the channels of a recording
            are scored apart, as the sides of a call, each is a speaker of its own: the one that all recordings of
            this name have on that channel.
    """

    names: Mapping[str, str]

    def find(self, recording: str, channel: str) -> str | None:
        """The speaker in a channel of a recording, or None."""
        name = self.names.get(recording)
        return name if name is None or channel == MIX else f"{name}\0{channel}"


def find_speakers(source: str, recordings: Sequence[Recording]) -> Speakers:
    """The speakers of recordings.

    Args:
        source: `FOLDER`, `CHANNEL`, or a CSV table with the columns ``file`` and ``speaker``, whose rows stand for
            recordings as in `sercli.prediction.truth.match_recordings`; an empty speaker is an unknown one.
        recordings: those of the run.

    Raises:
        CorpusError: if the table cannot be read, or names two speakers of one file.
        InputError: if not one of the recordings has a speaker.
    """
    if source == FOLDER:
        return Speakers(names={recording.name: str(recording.path.parent) for recording in recordings})
    if source == CHANNEL:
        return Speakers(names={recording.name: recording.name for recording in recordings})
    if not Path(source).is_file():
        msg = f"--enroll should be {FOLDER}, {CHANNEL} or a CSV table, found {source!r}, which is no file"
        raise InputError(msg)
    table = {place: speaker for place, (_, speaker) in read_column(Path(source), "speaker").items() if speaker}
    names = match_recordings(table, recordings)
    if not names:
        msg = f"none of the {len(recordings)} recordings has a speaker: expected names in the column 'file' of {source}"
        raise InputError(msg)
    return Speakers(names=names)
