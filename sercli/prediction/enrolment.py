"""Whose voice is in each recording, for normalisation by speaker."""

from collections.abc import Sequence
from pathlib import Path

from sercli.errors import InputError
from sercli.prediction.discovery import Recording
from sercli.prediction.tables import match_recordings, read_column

FOLDER, CHANNEL = "folder", "channel"
"""Given in place of a table: one speaker a folder, or another one in every channel of every recording."""


def find_speakers(source: str, recordings: Sequence[Recording]) -> dict[str, str]:
    """The speaker of each recording that has one, by the recording's name.

    Args:
        source: `FOLDER`, `CHANNEL`, or a CSV table with the columns ``file`` and ``speaker``, whose rows stand for
            recordings as in `sercli.prediction.tables.match_recordings`; an empty speaker is an unknown one.
        recordings: those of the run.

    Raises:
        CorpusError: if the table cannot be read, or names two speakers of one file.
        InputError: if not one of the recordings has a speaker.
    """
    if source == FOLDER:
        return {recording.name: str(recording.path.parent) for recording in recordings}
    if source == CHANNEL:
        return {recording.name: recording.name for recording in recordings}
    table = {place: speaker for place, (_, speaker) in read_column(Path(source), "speaker").items() if speaker}
    speakers = match_recordings(table, recordings)
    if not speakers:
        msg = f"none of the {len(recordings)} recordings has a speaker: expected names in the column 'file' of {source}"
        raise InputError(msg)
    return speakers
