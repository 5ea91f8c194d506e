"""Methods and quantizers of one's own: 'package.module:name' imports the module, which registers them."""

from __future__ import annotations

from collections.abc import Collection

from difficulty.errors import UsageError
from difficulty.own_code import own_module


def import_own(given: str, argument: str, built_in: Collection[str]) -> str:
    """The name after the colon of 'package.module:name', with that module imported; else `given` itself.

    Raises:
        UsageError: the module cannot be imported, or the name is that of a `built_in` one, which would be used in its place.
    """
    module, colon, own = given.rpartition(":")
    if not colon:
        return given
    if not module or not own:
        raise UsageError(f"{argument}={given!r} names no method. Write {argument}=module:name.")
    if own in built_in:
        raise UsageError(
            f"{argument}={given!r} is the built-in {own}. Write {argument}={own}, or give yours another name."
        )
    own_module(module, f"{argument}={given!r}")
    return own
