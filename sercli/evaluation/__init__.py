"""Evaluation of recipes: protocols, folds, scores and reports."""
