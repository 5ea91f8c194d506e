"""Methods and quantizers of one's own: 'package.module:name' imports the module, which registers them."""

from __future__ import annotations

import importlib
from collections.abc import Collection

from difficulty.errors import UsageError


def import_own(given: str, argument: str, built_in: Collection[str]) -> str:
    """The name after the colon of 'package.module:name', with that module imported; else `given` itself.

    Raises:
        UsageError: the module cannot be imported, or the name is that of a `built_in` one, which would be used in its place.
    """
    module, colon, own = given.rpartition(":")
    if not colon:
        return given
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a module of one's own raises
        raise UsageError(
            f"{argument}={given!r}: module {module!r} could not be imported ({error})."
        ) from error
    if own in built_in:
        raise UsageError(
            f"{argument}={given!r} is the built-in {own}. Write {argument}={own}, or give yours another name."
        )
    return own
