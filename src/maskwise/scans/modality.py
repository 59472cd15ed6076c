"""What kind of scan a source or a DICOM file says that it is, in the words of this project."""

_WORDS = {
    "US": "ultrasound",
    "MR": "mr",
    "CT": "ct",
    **dict.fromkeys(("CR", "DX", "MG", "XA", "RF"), "xray"),
}
"""DICOM's ``Modality`` -> ours. Of another (``OT``, ``SC``, ``PT``) nothing is said here."""
_CALLED = {"mri": "mr", "us": "ultrasound", "x-ray": "xray"}
"""Other words of a source for what preprocess knows by one."""


def our_word(named: str) -> str:
    """Return a source's word for its modality as preprocess has it."""
    word = named.strip().lower()
    return _CALLED.get(word, word)


def modality_of(said: str) -> str | None:
    """Return the word for DICOM's ``Modality``, or None where there is none."""
    return _WORDS.get(said.strip().upper())


def contradicts(found: str | None, named: str) -> bool:
    """Tell whether a file's own modality is another than the one that somebody named.

    ``other`` and words of a user's own name none of those that a file can be known to be.
    """
    word = our_word(named)
    return found is not None and word in _WORDS.values() and found != word
