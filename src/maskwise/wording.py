"""Words that messages, log lines and pages share."""


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Write a number of things: "1 image", "640 images"."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}"
