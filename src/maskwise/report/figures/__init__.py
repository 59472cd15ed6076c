"""One figure per file. Each takes plain tables and arrays and returns a matplotlib figure."""
