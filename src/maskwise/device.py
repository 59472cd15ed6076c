"""Which device torch computes on."""

from typing import Literal

import torch

from maskwise.errors import UserError

Device = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: Device = "auto", where: str = "device") -> torch.device:
    """Return the GPU if there is one and ``wanted`` allows it, else the CPU.

    Raises:
        UserError: if a GPU is wanted and there is none; ``where`` names the option.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise UserError(f"{where}: this machine has no CUDA device; use auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
