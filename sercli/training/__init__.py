"""Recipes, and the loop that trains a network by one."""
