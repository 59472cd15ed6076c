"""Manifest to store and splits."""
