"""What tasks share that put a linear layer on an encoder, frozen or fine-tuned."""
