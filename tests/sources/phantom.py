"""Phantom as it is: the product writes it itself."""

from pathlib import Path

from maskwise.ingest.sources.phantom import PhantomConfig


def write(raw: Path, config: PhantomConfig) -> Path:
    """Write all files of ``config`` below ``raw``."""
    for name, content in config.files():
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return raw
