"""Predictions to scores and paired differences, each with its uncertainty."""
