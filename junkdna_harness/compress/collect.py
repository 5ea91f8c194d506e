"""The statistics of one block's targets, gathered while the calibration inputs run through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from junkdna_harness.compress.statistics import Statistic
from junkdna_harness.compress.targets import Target
from junkdna_harness.compress.walk import Step


def collect(
    step: Step, targets: Sequence[Target], needs: type[Statistic], seed: int = 0
) -> list[tuple[Statistic | None, list[Target]]]:
    """The targets in groups that share one statistic, because they share one input (as q, k and v do).

    A statistic of None means that no token reached the target: an expert that the calibration text never called.
    """
    shared = [target for target in targets if target.twins and target.expert is None]
    layers = [target for target in targets if not target.twins and target.expert is None]
    experts = [target for target in targets if target.expert is not None]
    listening, mode = _Layers(layers, needs, seed), _Experts(experts, needs, seed)
    with mode, listening:
        step.run(first=True)
        again = listening.called_again
        if not again:
            listening.join()
            step.run(first=False)
    if again:  # the block uses a layer on several inputs (gemma3n): all count, and nothing is shared
        listening, mode = _Layers(layers, needs, seed, share=False), _Experts(experts, needs, seed)
        with mode, listening:
            step.run()
    found = dict(mode.found)
    if shared:  # blocks have layers in common (zamba): the inputs of all of them count
        with _Layers(shared, needs, seed, share=False) as common:
            step.run_model()
        listening.groups.update(common.groups)
    silent = [members[0] for statistic, members in listening.groups.values() if statistic is None]
    if silent:  # never called: their weights may be used without them (mamba's dt_proj)
        with (mode := _Experts(silent, needs, seed)):
            step.run()
        for target in silent:
            listening.groups[target.name] = (mode.found.get(target.name), [target])
    grouped = list(listening.groups.values())
    return [*grouped, *((found.get(target.name), [target]) for target in experts)]


class _Layers:
    """Hooks on linear layers. After the first batch only one layer of each group that shares an input listens; without `share` all do."""

    def __init__(
        self, targets: Sequence[Target], needs: type[Statistic], seed: int, share: bool = True
    ) -> None:
        self.targets = targets
        self.needs = needs
        self.seed = seed
        self.share = share  # not the method itself: an object that holds itself keeps its Hessians until garbage is collected
        self.groups: dict[str, tuple[Statistic | None, list[Target]]] = {t.name: (None, [t]) for t in targets}
        self._handles: dict[str, RemovableHandle] = {}
        self._twins: list[RemovableHandle] = []
        self._first: dict[
            tuple[int, int], str
        ] = {}  # (input tensor, its version) -> the layer that saw it first
        self._alive: list[Tensor] = []  # keeps the first batch's inputs, so that no id is used twice
        self._follows: dict[str, str] = {}
        self._calls: dict[str, int] = {}

    def __enter__(self) -> _Layers:
        for target in self.targets:
            begin = self._discover if self.share else self._listen
            self._handles[target.name] = target.module.register_forward_pre_hook(begin(target))
            self._twins += [twin.register_forward_pre_hook(begin(target)) for twin in target.twins]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in (*self._handles.values(), *self._twins):
            handle.remove()

    def _discover(self, target: Target) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            inputs: Tensor = args[0]
            leader = self._first.setdefault((id(inputs), inputs._version), target.name)
            self._alive.append(inputs)
            self._calls[target.name] = self._calls.get(target.name, 0) + 1
            if leader != target.name:
                self._follows[target.name] = leader
            else:
                self._take(target, inputs)

        return hook

    def _take(self, target: Target, inputs: Tensor) -> None:
        statistic, members = self.groups[target.name]
        if statistic is None:
            statistic = self.needs(target.shape[1], inputs.device, self.seed, target.name)
            self.groups[target.name] = (statistic, members)
        statistic.update(inputs.reshape(-1, inputs.shape[-1]))

    @property
    def called_again(self) -> bool:
        """True where a layer was called more than once in the first batch, so that its inputs are not those of one group."""
        return any(calls > 1 for calls in self._calls.values())

    def join(self) -> None:
        """After the first batch: followers join their leader's group and stop listening."""
        self._alive.clear()
        self._first.clear()
        by_name = {target.name: target for target in self.targets}
        for name, handle in self._handles.items():
            handle.remove()
            if name in self._follows:
                self.groups[self._follows[name]][1].append(by_name[name])
                del self.groups[name]
        self._handles = {
            name: by_name[name].module.register_forward_pre_hook(self._listen(by_name[name]))
            for name in self.groups
        }

    def _listen(self, target: Target) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            self._take(target, args[0])

        return hook


class _Experts(TorchFunctionMode):
    """Watches matrix products for those with a slice of a stack of experts, whatever the module's code looks like; and for those with a
    plain layer's weight that is used without its module.
    """

    _LINEAR = (nn.functional.linear,)
    _MATMUL = (
        torch.matmul,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.mm,
        torch.bmm,
        torch.Tensor.bmm,
    )

    def __init__(self, targets: Sequence[Target], needs: type[Statistic], seed: int) -> None:
        super().__init__()
        self.needs = needs
        self.seed = seed
        self.found: dict[str, Statistic] = {}
        self._stacks: dict[int, tuple[nn.Parameter, dict[int, Target]]] = {}
        for target in targets:
            stack = self._stacks.setdefault(_storage(target.parameter), (target.parameter, {}))
            stack[1][target.expert or 0] = target

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._stacks and len(args) >= 2 and func in (*self._LINEAR, *self._MATMUL):
            with torch._C.DisableTorchFunction():
                self._see(args[0], args[1])
                if func in self._MATMUL and args[0].ndim == 2:
                    self._see(args[1].transpose(-1, -2), args[0], left=True)
        return func(*args, **(kwargs or {}))

    def _see(self, inputs: Tensor, weight: Tensor, left: bool = False) -> None:
        stack = self._stacks.get(_storage(weight))
        if stack is None:
            return
        parameter, experts = stack
        if parameter.ndim == 2:
            self._take(experts[0], inputs)
            return
        if left:
            return
        offset = weight.storage_offset() - parameter.storage_offset()
        # A product with the whole stack has inputs (experts, tokens, in).
        whole = weight.ndim == 3
        pairs = enumerate(inputs) if whole else iter([(offset // parameter.stride(0), inputs)])
        for expert, rows in pairs:
            if (target := experts.get(expert)) is not None and rows.numel():
                self._take(target, rows)

    def _take(self, target: Target, rows: Tensor) -> None:
        statistic = self.found.get(target.name)
        if statistic is None:
            statistic = self.needs(target.shape[1], rows.device, self.seed, target.name)
            self.found[target.name] = statistic
        statistic.update(rows.reshape(-1, rows.shape[-1]))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
