"""Progress of long recordings, and progress bars for notebooks and scripts; the command line draws its own."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Progress report from a long recording.

    Attributes:
        seconds: Audio processed so far (s).
    """

    seconds: float


Progress = Callable[[int, int], None]
"""Called with the steps done and their total."""


@contextlib.contextmanager
def follow_progress(
    description: str,
    progress: bool | Callable[..., None],  # noqa: FBT001 - as users give it
) -> Iterator[Callable[..., None]]:
    """Chooses what is called with progress.

    Args:
        description: Text to the left of a bar.
        progress: True for a bar while the block runs, False for none, or a function to call instead.

    Yields:
        A function that takes the steps done, their total, and possibly more, which a bar ignores.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda *_: None
        return
    from tqdm.auto import tqdm  # looks for a notebook; not needed without a bar

    with tqdm(desc=description) as bar:

        def update(done: int, total: int, *_: object) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
