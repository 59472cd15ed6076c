"""What a referee asks of one recipe: figures at thresholds, in subgroups, and its errors."""
