"""Recordings of people are private: no library of ours may report anything to anyone."""

import os


def turn_off_telemetry() -> None:
    """Keeps ONNX Runtime from contacting its telemetry service; to be called before it is imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
