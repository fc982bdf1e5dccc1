"""Makes the recordings of this folder: ``python samples/make_samples.py``.

A synthetic voice (espeak-ng) says two sentences at differing pitch, rate and loudness. Nobody feels anything in
them: they show that recordings of each kind go through, not how good the answers are. Equal versions of espeak-ng
give equal sound; only the serial numbers in Ogg files are drawn anew.
"""

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.float32]

FOLDER = Path(__file__).resolve().parent
SAMPLE_RATE = 16_000  # Hz
LARGEST = 200_000  # bytes of a recording
KIDS, DOGS = "Kids are talking by the door.", "Dogs are sitting by the door."


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How espeak-ng speaks.

    Attributes:
        name: language and variant, as ``en+f3``.
        pitch: 0 to 99; 50 is the voice's own.
        rate: words a minute; 175 is the voice's own.
        loudness: 0 to 200; 100 is the voice's own.
        text: what is said.
    """

    name: str
    pitch: int
    rate: int
    loudness: int
    text: str


VOICES = {
    "man-even.wav": Voice(name="en-us+m3", pitch=45, rate=165, loudness=100, text=KIDS),
    "man-high-fast.flac": Voice(name="en+m1", pitch=85, rate=230, loudness=150, text=DOGS),
    "man-loud.wav": Voice(name="en-us+m7", pitch=60, rate=190, loudness=195, text=KIDS),
    "man-low-slow.flac": Voice(name="en+m4", pitch=10, rate=115, loudness=60, text=DOGS),
    "whisper.ogg": Voice(name="en+whisper", pitch=50, rate=150, loudness=90, text=KIDS),
    "woman-even.ogg": Voice(name="en-us+f2", pitch=50, rate=165, loudness=100, text=DOGS),
    "woman-high-fast.wav": Voice(name="en+f3", pitch=95, rate=240, loudness=170, text=KIDS),
    "woman-low-slow.wav": Voice(name="en+f4", pitch=20, rate=120, loudness=40, text=DOGS),
}
AGENT = Voice(name="en-us+f1", pitch=55, rate=175, loudness=100, text=KIDS)
CUSTOMER = Voice(name="en+m2", pitch=75, rate=215, loudness=180, text=DOGS)


def speak(voice: Voice) -> Samples:
    """What espeak-ng makes of a voice, at `SAMPLE_RATE`, in shape ``(n_samples,)``."""
    options = ["-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.rate), "-a", str(voice.loudness)]
    spoken = subprocess.run(["espeak-ng", *options, "--stdout", voice.text], check=True, capture_output=True)
    samples, sample_rate = soundfile.read(io.BytesIO(spoken.stdout), dtype="float32")
    resampled: Samples = soxr.resample(samples, sample_rate, SAMPLE_RATE)
    return resampled


def join_call(left: Samples, right: Samples) -> Samples:
    """Two speakers in turn, each on a side, in shape ``(n_samples, 2)``."""
    sides = np.zeros((len(left) + len(right), 2), np.float32)
    sides[: len(left), 0] = left
    sides[len(left) :, 1] = right
    return sides


def write(name: str, samples: Samples, sample_rate: int = SAMPLE_RATE) -> None:
    """Writes a recording below this folder in the format of its suffix.

    Raises:
        ValueError: if it is larger than `LARGEST`.
    """
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, sample_rate)
    if path.stat().st_size > LARGEST:
        msg = f"{path} has {path.stat().st_size} bytes, more than {LARGEST}"
        raise ValueError(msg)


def main() -> None:
    """Makes all recordings."""
    for name, voice in VOICES.items():
        write(name, speak(voice))
    agent, customer = speak(AGENT), speak(CUSTOMER)
    write("calls/stereo.flac", join_call(agent, customer))
    telephone: Samples = soxr.resample(customer, SAMPLE_RATE, 8_000)
    write("calls/telephone-8khz.wav", telephone, 8_000)
    write("calls/voice note.flac", agent)
    write("silence.wav", np.zeros(SAMPLE_RATE, np.float32))


if __name__ == "__main__":
    main()
