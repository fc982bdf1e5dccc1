"""Emotions of unseen recordings: finding them, working on each, ordered rows, writing, scoring."""
