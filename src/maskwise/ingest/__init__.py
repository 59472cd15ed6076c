"""Stage ingest: raw files to manifest, rejects and a summary of the data."""
