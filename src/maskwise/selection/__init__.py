"""Embeddings in; which scans to label next, and as many that chance alone chose, out."""
