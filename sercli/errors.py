"""The errors sercli raises on purpose.

The tree::

    SercliError
    ├── UsageError        the command or call was put wrongly (exit status 2)
    ├── InputError        a file or folder is missing, empty or not what was expected
    │   ├── AudioError    a recording cannot be decoded or used
    │   ├── ArchiveError  an archive is damaged or would unpack where it must not
    │   ├── CorpusError   a corpus or an index breaks its own rules
    │   ├── StoreError    a feature store is damaged or was made with other parameters
    │   └── ModelError    a model folder is damaged or of another version
    │       └── CheckpointError  what a training left cannot be gone on with
    ├── DownloadError     the network or the server did not deliver
    └── SplitError        a split would leak, or cannot be made from this corpus

Every message is one line: what, where, expected, found, what to do next.
"""


class SercliError(Exception):
    """Base of all expected failures; the command line shows it without a traceback."""


class UsageError(SercliError):
    """The command or call was put wrongly; the command line exits with status 2."""


class InputError(SercliError):
    """A file or folder is missing, empty or not what was expected."""


class AudioError(InputError):
    """A recording cannot be decoded or used."""


class ArchiveError(InputError):
    """An archive is damaged, or would unpack where it must not."""


class CorpusError(InputError):
    """A corpus or an index breaks its own rules."""


class StoreError(InputError):
    """A feature store is damaged, or was made with other parameters."""


class ModelError(InputError):
    """A model folder is damaged, or of a version that cannot be read."""


class CheckpointError(ModelError):
    """What an interrupted training left is damaged, or belongs to another training."""


class DownloadError(SercliError):
    """The network or the server did not deliver."""


class SplitError(SercliError):
    """A split would leak between its sides, or cannot be made from this corpus."""
