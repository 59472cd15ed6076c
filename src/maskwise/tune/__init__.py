"""Tune: a search over parameters of a recipe and its budget, judged on validation images."""
