"""The model classes that lm-eval knows, by the names that `lm_eval --model` takes."""

from __future__ import annotations

from typing import cast


def model_names() -> list[str]:
    """All names, ours too, sorted."""
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    return sorted(model_registry.keys())


def model_class(name: str) -> type:
    """The class of that name.

    Raises:
        ImportError: it needs a package that is not installed.
    """
    from lm_eval.api.registry import get_model

    return cast(type, get_model(name))
