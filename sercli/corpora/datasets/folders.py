"""The user's own recordings, in one folder per label: the corpus ``folders``.

Annotation: the name of the folder that directly holds a recording, as in ``angry/1.wav`` or ``train/angry/1.wav``;
``--map`` merges labels. Speakers are unknown: where they are known, list them in a table and take the corpus ``csv``.

Protocols: ``paper``, ``random10`` and, to test on, ``cross``, because speakers are unknown.
"""

from pathlib import Path

from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, Problem, Source, list_sound_files
from sercli.errors import UsageError
from sercli.labels import check_labels, order_labels, read_label

NAME = "folders"


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by the folders that hold them.

    Raises:
        CorpusError: If there are no recordings.
        UsageError: If labels differ only by case, spaces, hyphens or underscores.
    """
    problems: list[Problem] = []
    labeled: list[tuple[Path, Annotation]] = []
    for path in list_sound_files(source.folder, problems):
        name = str(path.relative_to(source.folder))
        if path.parent == source.folder:
            problems.append(Problem(file=name, reason="is not in a label's folder"))
            continue
        try:
            emotion = source.merge(read_label(path.parent.name))
        except UsageError as reason:
            problems.append(Problem(file=name, reason=str(reason)))
        else:
            labeled.append((path, Annotation(emotion=emotion)))
    check_labels(order_labels(annotation.emotion for _, annotation in labeled), least=0)
    return LabeledRecordings(recordings=tuple(labeled), problems=tuple(problems))


CORPUS = Corpus(
    name=NAME,
    title="your own recordings, in one folder per label",
    citation="none",
    license="that of the recordings",
    page="",
    label=label,
)
