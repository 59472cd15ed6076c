"""The task ``diagnosis``: one class per image."""
