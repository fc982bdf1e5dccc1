"""Speech corpora: download, unpack, label and index their recordings."""
