"""The task ``lesion``: outline what somebody outlined."""
