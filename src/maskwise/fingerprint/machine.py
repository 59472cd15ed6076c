"""What a source is to be trained on."""

from maskwise.fingerprint.contracts import Machine
from maskwise.workers import available_cores


def this_machine() -> Machine:
    """Return the cores that this process may use, memory, and the GPU if there is one."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    return Machine(available_cores(), psutil.virtual_memory().total / 1e9, gpu / 1e9)
