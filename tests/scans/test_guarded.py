"""Whatever a decoder raises, a file is refused for one reason, and the user can still stop."""

import logging
import warnings

import pytest

from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.reasons import RejectedError


class PanicError(BaseException):
    """What decoders written in Rust raise: no ``Exception``."""


@pytest.mark.parametrize("raised", [PanicError, OSError, AssertionError])
def test_whatever_a_decoder_raises_means_damaged(raised: type[BaseException]) -> None:
    with (
        pytest.raises(RejectedError, match=f"cannot be decoded .{raised.__name__}") as caught,
        refusing("a.png", "cannot be decoded"),
    ):
        raise raised
    assert caught.value.reject.reason == "damaged"


def test_a_file_is_not_called_damaged_because_memory_ran_out() -> None:
    with (
        pytest.raises(RejectedError, match="memory ran out") as caught,
        refusing("a.png", "cannot be decoded"),
    ):
        raise MemoryError
    assert caught.value.reject.reason == "crashed"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
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


def test_neither_warnings_nor_the_loggers_named_are_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        with quiet("decoder"):
            warnings.warn("Dumbledore", stacklevel=1)
            logging.getLogger("decoder").error("Dumbledore")
            logging.getLogger("ours").info("inside")
        logging.getLogger("decoder").info("outside")
    assert caplog.messages == ["inside", "outside"]


def test_a_logger_is_heard_again_whatever_was_raised_meanwhile() -> None:
    with pytest.raises(PanicError), quiet("decoder"):
        raise PanicError
    assert not logging.getLogger("decoder").disabled
