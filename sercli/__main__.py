"""Runs the command line as ``python -m sercli``."""

from sercli.cli import main

if __name__ == "__main__":
    main()
