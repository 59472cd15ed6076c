"""Which device torch computes on, and in which precision it trains."""

from typing import Literal

import torch

from maskwise.errors import HinderedError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(wanted: Device = "auto", where: str = "device") -> torch.device:
    """Return the GPU if there is one and ``wanted`` allows it, else the CPU.

    Raises:
        HinderedError: if a GPU is wanted and there is none; ``where`` names the option.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise HinderedError(f"{where}: this machine has no CUDA device; use auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def trains_in_half(wanted: Precision, device: str, where: str = "precision") -> bool:
    """Return whether to train on ``device`` (``cpu``, ``cuda``) in bfloat16 where that will do.

    ``auto``: bfloat16 where CUDA has it, and float32 on a CPU, so that what comes out does not
    depend on the CPU's model.

    Raises:
        HinderedError: if bfloat16 is wanted and would be emulated; ``where`` names the option.
    """
    fast = _has_bfloat16(device)
    if wanted == "bfloat16" and not fast:
        raise HinderedError(
            f"{where}: this {device} has no bfloat16 arithmetic and would emulate it, some 30 "
            "times slower than float32; use auto or float32"
        )
    return wanted == "bfloat16" or (wanted == "auto" and fast and device == "cuda")


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
