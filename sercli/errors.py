"""Errors that sercli raises on purpose.

The tree::

    SercliError
    ├── UsageError        invalid usage of a command or function (exit status 2)
    ├── InputError        a file or folder is missing, empty or not what was expected
    │   ├── AudioError    a recording cannot be decoded or used
    │   ├── ArchiveError  an archive is damaged, or would write outside its folder
    │   ├── CorpusError   a corpus or an index is inconsistent
    │   ├── StoreError    a feature store is damaged, or has other parameters
    │   └── ModelError    a model folder is damaged, or of an unsupported version
    │       └── CheckpointError  cannot resume from this checkpoint
    ├── DownloadError     a download failed
    ├── SplitError        a split would leak, or the corpus is too small for it
    └── WorkerError       worker processes cannot be started (`sercli.prediction.pool`)

`sercli.config.ParameterError` is the `UsageError` of a parameter.

Every message is one line: what, where, expected, found, what to do next.
"""


class SercliError(Exception):
    """Base of all expected failures; the command line shows it without a traceback."""


class UsageError(SercliError):
    """Invalid usage of a command or function; the command line exits with status 2."""


class InputError(SercliError):
    """A file or folder is missing, empty or not what was expected."""


class AudioError(InputError):
    """A recording cannot be decoded or used."""


class ArchiveError(InputError):
    """An archive is damaged, or would write outside its folder."""


class CorpusError(InputError):
    """A corpus or an index is inconsistent."""


class StoreError(InputError):
    """A feature store is damaged, or has other parameters."""


class ModelError(InputError):
    """A model folder is damaged, or of an unsupported version."""


class CheckpointError(ModelError):
    """A checkpoint is damaged, or belongs to another training."""


class DownloadError(SercliError):
    """A download failed."""


class SplitError(SercliError):
    """A split would leak, or the corpus is too small for it."""
