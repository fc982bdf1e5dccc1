"""Checks of an installation, with a test prediction."""

import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sercli.caches import is_writable
from sercli.cpus import count_cpus
from sercli.errors import SercliError
from sercli.files import find_obstacle, one_line
from sercli.models.folder import model_digest
from sercli.version import __version__

CODECS = (
    *("mp3", "aac", "alac", "opus", "vorbis", "flac", "speex", "amrnb", "amrwb", "gsm_ms", "g722", "g729"),
    *("wmav2", "ac3", "pcm_mulaw", "pcm_alaw", "adpcm_ms"),
)
"""FFmpeg's names of the decoders that recordings are most likely to need."""

LEAST_SPACE = 200 * 10**6  # bytes that temporary files of a batch may take
GIGA = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of one check.

    Attributes:
        name: What was looked at.
        detail: What was found, in one line, without the path of the home folder.
        ok: Whether sercli can work with it.
    """

    name: str
    detail: str
    ok: bool = True


def examine(model: Path, data_dir: Path) -> Iterator[Check]:
    """Checks the installation; each problem is a check that is not `ok`.

    Args:
        model: Model folder to test.
        data_dir: Folder that corpora and features go to.
    """
    checks: dict[str, Callable[[], Check]] = {
        "sercli": lambda: Check(name="sercli", detail=f"{__version__}, Python {platform.python_version()}"),
        "system": lambda: Check(name="system", detail=platform.platform()),
        "libraries": _check_libraries,
        "processors": _check_cpus,
        "memory": _check_memory,
        "predict runs on": _check_providers,
        "train runs on": _check_torch,
        "codecs": _check_codecs,
        "data folder": lambda: _check_folder("data folder", data_dir),
        "temporary files": lambda: _check_folder("temporary files", Path(tempfile.gettempdir())),
        "model": lambda: _check_model(model),
        "recording": lambda: _check_recording(model),
    }
    for name, check in checks.items():
        try:
            result = check()
        except (SercliError, OSError, ImportError, LookupError, ValueError, TypeError, RuntimeError) as error:
            result = Check(name=name, detail=one_line(error), ok=False)
        yield replace(result, detail=hide_home(result.detail))


def hide_home(text: str) -> str:
    """Replaces the home folder with ``~``."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    for folder in {home, os.path.realpath(home)} - {"~", "/", ""}:
        text = re.sub(rf"{re.escape(folder)}(?![^\s/\\,:;'\")])", "~", text)
    return text


def _check_libraries() -> Check:
    try:
        required = importlib.metadata.requires("sercli") or []
    except importlib.metadata.PackageNotFoundError:
        return Check(name="libraries", detail="sercli is not installed: pip install .", ok=False)
    matches = [re.match(r"[\w.-]+", requirement) for requirement in required if "extra ==" not in requirement]
    versions, missing = [], []
    for name in sorted(match[0] for match in matches if match):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(name="libraries", detail=f"missing: {', '.join(missing)}; install sercli again", ok=False)
    return Check(name="libraries", detail=", ".join(versions))


def _check_cpus() -> Check:
    usable, present = count_cpus(), os.cpu_count() or 1
    return Check(name="processors", detail=f"{usable} usable of {present}")


def _check_memory() -> Check:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (page * os.sysconf(f"SC_{kind}PHYS_PAGES") for kind in ("", "AV"))
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return Check(name="memory", detail="not known on this system")
    return Check(name="memory", detail=f"{total / GIGA:.1f} GB, {free / GIGA:.1f} GB free")


def _check_providers() -> Check:
    import onnxruntime

    from sercli.models.model import choose_provider

    available = onnxruntime.get_available_providers()
    chosen = choose_provider("auto", available)
    detail = f"{chosen} (ONNX Runtime {onnxruntime.__version__}, which has {', '.join(available)})"
    return Check(name="predict runs on", detail=detail)


def _check_torch() -> Check:
    import torch

    from sercli.parallel import pick_device

    device = pick_device("auto")
    name = f"{device} ({torch.cuda.get_device_name(0)})" if device.type == "cuda" else str(device)
    return Check(name="train runs on", detail=f"{name} (torch {torch.__version__})")


def _check_codecs() -> Check:
    import av
    import soundfile

    missing = [name for name in CODECS if name not in av.codecs_available]
    detail = f"libsndfile {soundfile.__libsndfile_version__}, FFmpeg of PyAV {av.__version__}"
    if missing:
        return Check(
            name="codecs", detail=f"{detail} without {', '.join(missing)}: pip install --only-binary av av", ok=False
        )
    return Check(name="codecs", detail=f"{detail}: all {len(CODECS)} codecs are available")


def _check_folder(name: str, folder: Path) -> Check:
    if obstacle := find_obstacle(folder):
        return Check(name=name, detail=f"{folder.absolute()}: {obstacle} is not a folder", ok=False)
    present = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(present).free
    state = "" if present == folder.absolute() else ", not created yet"
    writable = is_writable(folder.absolute())
    detail = f"{folder.absolute()}{state}, {free / GIGA:.1f} GB free{'' if writable else ', not writable'}"
    if free <= LEAST_SPACE:
        detail += f", expected at least {LEAST_SPACE / GIGA:.1f} GB"
    return Check(name=name, detail=detail, ok=writable and free > LEAST_SPACE)


def _check_model(folder: Path) -> Check:
    from sercli.models.model import load_model
    from sercli.models.self_test import TOLERANCE, measure_difference

    model = load_model(folder)
    name = f"{folder} ({model_digest(folder)})"
    expected = model.facts.get("self_test")
    if not expected:
        return Check(name="model", detail=f"{name} loads; it was saved without an output to compare with")
    difference = measure_difference(model, expected)
    if difference > TOLERANCE:
        return Check(name="model", detail=f"{name}: output differs from the stored one by {difference:.4f}", ok=False)
    return Check(name="model", detail=f"{name}: output matches the stored output (difference {difference:.0e})")


def _check_recording(folder: Path) -> Check:
    """Scores a synthetic recording in a worker process."""
    import soundfile

    from sercli.models.self_test import make_test_signal
    from sercli.prediction.predictor import Predictor

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sercli-") as temporary:
        path = Path(temporary, "synthetic.wav")
        soundfile.write(path, make_test_signal(16_000), 16_000)
        (row,) = Predictor(folder, window=2.0, device="cpu").predict_many([path])
    seconds = time.monotonic() - began
    if row.status != "ok":
        return Check(
            name="recording", detail=f"a synthetic recording could not be scored: {row.error or 'no speech'}", ok=False
        )
    return Check(name="recording", detail=f"a synthetic recording was scored by a worker process in {seconds:.1f} s")
