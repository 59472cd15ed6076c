"""The task ``multilabel``: any number of labels per image, each told by itself."""
