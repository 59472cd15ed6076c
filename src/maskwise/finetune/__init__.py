"""Encoder, store and splits in; predictions out."""
