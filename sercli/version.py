"""Versions of the package and of the libraries that results depend on."""

__version__ = "0.1.0"

LIBRARIES = ("torch", "onnxruntime", "librosa", "numpy", "scipy", "soundfile", "soxr", "scikit-learn", "h5py")


def collect_versions() -> dict[str, str]:
    """Returns the versions of sercli, Python and the libraries that results depend on."""
    import importlib.metadata  # takes 40 ms with platform; only training and evaluation need it
    import platform

    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"sercli": __version__, "python": platform.python_version(), **libraries}
