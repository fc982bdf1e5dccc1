from pathlib import Path

import pytest

from sercli.errors import CorpusError
from tests.corpora.preparing import NAME, prepare


def test_git_lfs_pointers_are_named(tmp_path: Path, toy: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n"
    (toy / NAME).write_text(pointer)
    (problem,) = prepare(tmp_path, source=toy).problems
    assert str(problem) == f"{NAME}: is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository"
    for path in toy.rglob("*.wav"):
        path.write_text(pointer)
    with pytest.raises(CorpusError, match=r"no recording under .* first failure: .*: run 'git lfs pull'"):
        prepare(tmp_path, source=toy)


def test_git_annex_pointers_are_named(tmp_path: Path, toy: Path) -> None:
    names = sorted(path.relative_to(toy).as_posix() for path in toy.rglob("*.wav"))
    (toy / names[0]).unlink()
    (toy / names[0]).symlink_to(".git/annex/objects/Xx/Yy/MD5E-s9--00.wav/MD5E-s9--00.wav")
    (toy / names[1]).write_text("/annex/objects/MD5E-s9--00.wav\n")
    problems = prepare(tmp_path, source=toy).problems
    assert [problem.file for problem in problems] == names[:2]
    assert all("git-annex pointer" in problem.reason for problem in problems)
