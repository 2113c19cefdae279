"""The operators under any torch, for where the extension does not fit the one that runs.

The extension holds the model, and loads only under the torch that it was built for. The kernels of the operators need
no torch: they take addresses. Here they are loaded from a library of their own, and registered with torch's dispatcher
in Python, under the same names, with the same checks, derivatives and transforms as in ``cuda/registration``.
"""

from dsct.any_torch.library import is_built
from dsct.any_torch.registration import register

__all__ = ["is_built", "register"]
