"""What lies in a folder of scans, and which options of a source follow from it."""
