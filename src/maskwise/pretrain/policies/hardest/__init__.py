"""The policy ``hardest``: hide the cells that a teacher or a predictor finds hard now."""
