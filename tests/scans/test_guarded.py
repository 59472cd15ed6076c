"""Whatever a decoder raises, a file is refused for one reason, and the user can still stop."""

import pytest

from maskwise.scans.guarded import refusing
from maskwise.scans.reasons import RejectedError


class PanicError(BaseException):
    """What decoders written in Rust raise: no ``Exception``."""


@pytest.mark.parametrize("raised", [PanicError, MemoryError, OSError, AssertionError])
def test_whatever_a_decoder_raises_means_damaged(raised: type[BaseException]) -> None:
    with (
        pytest.raises(RejectedError, match=f"cannot be decoded .{raised.__name__}") as caught,
        refusing("a.png", "cannot be decoded"),
    ):
        raise raised
    assert caught.value.reject.reason == "damaged"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_a_user_who_stops_the_run_is_obeyed(raised: type[BaseException]) -> None:
    with pytest.raises(raised), refusing("a.png", "cannot be decoded"):
        raise raised


def test_a_reason_that_is_known_already_stays() -> None:
    known = RejectedError("a.png", "too_large", "9 x 9 pixels")
    with (
        pytest.raises(RejectedError, match="too_large"),
        refusing("a.png", "cannot be decoded"),
    ):
        raise known
