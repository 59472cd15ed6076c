"""How far a model's answers reach: prediction sets, and scans unlike those of its training.

Needs NumPy alone, so that a model's file can be used wherever torch is.
"""
