"""One figure a file. Each takes plain tables and arrays and returns a matplotlib figure."""
