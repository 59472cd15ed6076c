"""A trained model and unlabelled scans in; a table and a page of predictions out.

The package can be called, as ``maskwise.predict(paths, model)``: as soon as one of its modules
is imported, Python puts the package in the place of the function of that name.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, paths: Any, model: Any, **options: Any) -> Any:
        from maskwise.predict.script import predict

        return predict(paths, model, options)


sys.modules[__name__].__class__ = _Callable
