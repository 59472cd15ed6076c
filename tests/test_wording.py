"""Words that messages, log lines and pages share."""

import pytest

from maskwise.wording import count


@pytest.mark.parametrize(
    ("number", "words", "written"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (12_345, ("image",), "12,345 images"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
    ],
)
def test_one_thing_is_counted_in_the_singular(
    number: int, words: tuple[str, ...], written: str
) -> None:
    assert count(number, *words) == written
