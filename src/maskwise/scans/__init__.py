"""The reading of scans and of tables about them: what a file means, or the reason why not."""
