"""What networks are and what they gave: weights, drawings, features."""

from typing import Any

from maskwise.datasets.artefact import ArtefactDataset


class EncoderDataset(ArtefactDataset):
    """An encoder with its ``metadata`` as an attribute; loaded, it knows its ``path`` too."""

    def read(self) -> Any:
        from maskwise.artefacts.encoder import load_encoder

        encoder = load_encoder(self._filepath)
        vars(encoder)["path"] = self._filepath
        return encoder

    def write(self, data: Any) -> None:
        from maskwise.artefacts.encoder import write_encoder

        write_encoder(data, data.metadata, self._filepath)


class PolicyDataset(ArtefactDataset):
    """What an agent thinks of each place, beside the encoder that it hid for."""

    def read(self) -> Any:
        from maskwise.artefacts.policy import read_policy

        return read_policy(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.policy import write_policy

        write_policy(data, self._filepath)


class GalleryDataset(ArtefactDataset):
    """What was hidden and drawn of the probe images over training."""

    def read(self) -> Any:
        from maskwise.artefacts.gallery import read_gallery

        return read_gallery(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.arrays import write_arrays

        write_arrays(data, self._filepath)


class EmbeddingsDataset(ArtefactDataset):
    """Features of scans, and which encoder made them."""

    def read(self) -> Any:
        from maskwise.artefacts.embeddings import read_embeddings

        return read_embeddings(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.embeddings import write_embeddings

        write_embeddings(data, self._filepath)
