"""What a method may want to know of a layer beside its weights."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import torch
from torch import Tensor

from difficulty.errors import UsageError

DAMPING = 0.01  # share of the mean diagonal that is added to the Hessian, as in the SparseGPT and GPTQ papers
_MOST_DAMPING = 100.0


class Statistic:
    """Base of what `needs=` may name. Subclasses of your own work too: `update` sees every input once.

    `width` is the number of the layer's input features.

    Examples:
        >>> class Largest(Statistic):
        ...     def update(self, inputs: Tensor) -> None:
        ...         super().update(inputs)
        ...         self.largest = inputs.abs().amax(dim=0)
        >>> layer = Largest(2, torch.device("cpu"))
        >>> layer.update(torch.tensor([[1.0, -3.0], [2.0, 0.0]]))
        >>> layer.tokens, layer.largest.tolist()
        (2, [2.0, 3.0])
    """

    from_inputs: ClassVar[bool] = True

    def __init__(self, width: int, device: torch.device, seed: int = 0, name: str = "") -> None:
        self.width = width
        self.device = device
        self.seed = seed
        self.name = name
        self.tokens = 0

    def update(self, inputs: Tensor) -> None:
        """Take in inputs, shape (tokens, in), any float dtype."""
        self.tokens += inputs.shape[0]


class Seeded(Statistic):
    """No inputs, only a generator that depends on the seed and on the layer's name.

    Examples:
        >>> layer = Seeded(2, torch.device("cpu"), seed=1, name="layers.0")
        >>> torch.equal(torch.rand(3, generator=layer.generator()), torch.rand(3, generator=layer.generator()))
        True
    """

    from_inputs: ClassVar[bool] = False

    def generator(self) -> torch.Generator:
        """A fresh CPU generator of this layer, the same whatever the device and the order of layers."""
        digest = hashlib.sha256(f"{self.seed}/{self.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class InputNorm(Statistic):
    """The Euclidean norm of each input feature over all calibration tokens.

    Examples:
        >>> layer = InputNorm(2, torch.device("cpu"))
        >>> layer.update(torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
        >>> layer.norm.tolist()
        [5.0, 1.0]
    """

    def __init__(self, width: int, device: torch.device, seed: int = 0, name: str = "") -> None:
        super().__init__(width, device, seed, name)
        self._squares = torch.zeros(width, device=device)

    def update(self, inputs: Tensor) -> None:
        """Take in inputs, shape (tokens, in)."""
        super().update(inputs)
        self._squares += torch.linalg.vector_norm(inputs, dim=0, dtype=torch.float32).square()

    @property
    def norm(self) -> Tensor:
        """fp32, shape (in,).

        Raises:
            UsageError: the layer's inputs are not finite; it is named.
        """
        if not bool(torch.isfinite(self._squares).all()):
            raise _not_finite(self.name)
        return self._squares.sqrt()


class Hessian(Statistic):
    """2/n XᵀX of the layer's inputs: the Hessian of its squared output error (SparseGPT and GPTQ use it).

    Examples:
        >>> layer = Hessian(2, torch.device("cpu"))
        >>> layer.update(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> layer.matrix().tolist()
        [[1.0, 0.0], [0.0, 4.0]]
    """

    def __init__(self, width: int, device: torch.device, seed: int = 0, name: str = "") -> None:
        super().__init__(width, device, seed, name)
        self._products = torch.zeros(width, width, device=device)
        self._factor: Tensor | None = None
        self.damping = DAMPING

    def update(self, inputs: Tensor) -> None:
        """Take in inputs, shape (tokens, in)."""
        super().update(inputs)
        rows = inputs.float()
        self._products.addmm_(rows.T, rows)

    def matrix(self) -> Tensor:
        """fp32, shape (in, in), undamped.

        Raises:
            UsageError: `factor` was called before, which takes the matrix's place in memory.
        """
        if self._factor is not None:
            raise UsageError(
                f"the Hessian of {self.name} was given up for its factor. Ask for the matrix first."
            )
        return self._products * (2 / max(self.tokens, 1))

    def factor(self) -> Tensor:
        """The upper Cholesky factor U of the inverse of the damped Hessian (H⁻¹ = UᵀU), fp32, shape (in, in).

        Computed once for all layers that share the input. Where H is not positive definite the damping is raised
        tenfold until it is; `damping` holds what was used. Features that were never active count as independent.

        Raises:
            UsageError: the layer's inputs are not finite, or no damping helps; the layer is named.
        """
        if self._factor is None:
            hessian = self._products.mul_(2 / max(self.tokens, 1))
            diagonal = hessian.diagonal()
            if not bool(torch.isfinite(hessian.sum())) or not bool(torch.isfinite(diagonal).all()):
                raise _not_finite(self.name)
            diagonal[diagonal == 0] = 1
            self._factor = self._inverse_factor(hessian, float(diagonal.mean()))
            self._products = hessian.new_zeros(0)
        return self._factor

    def _inverse_factor(self, hessian: Tensor, mean: float) -> Tensor:
        added = 0.0
        while self.damping <= _MOST_DAMPING:
            hessian.diagonal().add_(self.damping * mean - added)
            added = self.damping * mean
            lower, failed = torch.linalg.cholesky_ex(hessian)
            if not int(failed):
                inverse = torch.cholesky_inverse(lower, out=lower)
                upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
                if not int(failed) and bool(torch.isfinite(upper.diagonal()).all()):
                    found: Tensor = upper
                    return found
            self.damping *= 10
        raise UsageError(
            f"the Hessian of {self.name} is not positive definite even with {_MOST_DAMPING:g} times its mean diagonal "
            f"added. Use more calibration text (nsamples, seqlen), or method=wanda."
        )


def _not_finite(name: str) -> UsageError:
    return UsageError(
        f"the inputs of {name} are NaN or infinite on the calibration text, so nothing can be learned from them. "
        f"Load the model with dtype=float32 or bfloat16."
    )
