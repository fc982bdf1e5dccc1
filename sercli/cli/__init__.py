"""The command line: parses, calls the library, renders."""

from sercli.cli.app import main

__all__ = ["main"]
