"""What a model is made of: its modules, tensors, plain values and configuration, kept so that a change of structure can be undone."""

from __future__ import annotations

from typing import Any

from torch import nn

_CONTAINERS = ("_parameters", "_buffers", "_modules")


class Anatomy:
    """The parts of a model as they are now. Tensors are held, not copied: whoever changes their values restores these."""

    def __init__(self, model: nn.Module) -> None:
        self._modules: list[tuple[nn.Module, dict[str, dict[str, Any]], dict[str, Any]]] = []
        configs: dict[int, Any] = {}
        for module in model.modules():
            held = {name: dict(getattr(module, name)) for name in _CONTAINERS}
            self._modules.append((module, held, plain_values(module)))
            for value in vars(module).values():
                _collect(value, configs)
        self._configs = [(config, dict(vars(config))) for config in configs.values()]

    def restore(self) -> None:
        """Put every part back where it was."""
        for module, held, values in self._modules:
            for name, parts in held.items():
                container = getattr(module, name)
                container.clear()
                container.update(parts)
            vars(module).update(values)
        for config, values in self._configs:
            vars(config).clear()
            vars(config).update(values)


def plain_values(module: nn.Module) -> dict[str, Any]:
    """A module's own numbers, texts and lists of them, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if name != "training" and not name.startswith("_") and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _collect(value: object, found: dict[int, Any]) -> None:
    """Configurations, and those inside of them."""
    if not hasattr(value, "get_text_config") or isinstance(value, (nn.Module, type)) or id(value) in found:
        return
    found[id(value)] = value
    for inner in vars(value).values():
        _collect(inner, found)
