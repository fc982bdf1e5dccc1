"""Choice of the device that torch trains on."""

import torch

from sercli.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str) -> torch.device:
    """Returns the device for one of `DEVICES`; ``auto`` prefers CUDA, then MPS, then the CPU.

    Raises:
        UsageError: If the name is unknown, or this machine does not have the device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, present in available.items() if present))
    if name not in available:
        msg = f"unknown device {name!r}: expected one of {', '.join(DEVICES)}"
        raise UsageError(msg)
    if not available[name]:
        msg = f"this machine has no {name} device that torch can use: leave --device out, or give --device cpu"
        raise UsageError(msg)
    return torch.device(name)
