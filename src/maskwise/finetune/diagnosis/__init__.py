"""The task ``diagnosis``: a linear layer on frozen features, or all of it fine-tuned."""
