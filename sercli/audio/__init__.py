"""Sound files in, signals out."""
