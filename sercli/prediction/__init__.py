"""Prediction: scores recordings and writes reports."""
