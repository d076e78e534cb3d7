"""Run the blocks of an existing model on the fused operators, and undo that.

::

    report = fuse(model)
    print(report)
    ...
    unfuse(model)

Fusing a block replaces the class of the module object. The new class is a subclass of the old one, and its forward
calls the operator. The object and its contents stay the same. Parameters and their names, optimizers, hooks on the
block, ``isinstance`` and checkpoints are therefore unaffected. (``torch.nn.utils.parametrize`` changes modules in the
same way.)
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from lite_rtse_ext import nn as fused_nn
from lite_rtse_ext import reference
from lite_rtse_ext.fusion.match import LAYERS, Candidate, complex_candidates, recognize
from lite_rtse_ext.fusion.pairs import norm_prelu_pairs
from lite_rtse_ext.fusion.probe import Probe, convolutions, run_operator, takes
from lite_rtse_ext.nn.norm_prelu import Pair, separate
from lite_rtse_ext.ops import _native
from lite_rtse_ext.reference.operands import are_plain, run_weight_hooks
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

__all__ = ["Finding", "FuseReport", "fuse", "unfuse"]

_OURS = tuple(getattr(fused_nn, name) for name in fused_nn.__all__)
# Blocks that are recognized by their class. Each has the forward of our class of the same name.
_KINDS: tuple[type[nn.Module], ...] = (reference.MaskResidual, *LAYERS)
_FORWARDS = {kind: getattr(fused_nn, kind.__name__).forward for kind in _KINDS}
_ROOT = "(the model itself)"
_TOLERANCE = 1e-9  # relative, in float64. A different computation differs by about 1.


@dataclass(frozen=True)
class Finding:
    """One block that :func:`fuse` examined.

    ``path`` is its path in the model, ``block`` the name of its class, and ``operator`` the operator that it resembles.
    ``reason`` states why it was not fused. It is empty if the block was fused. ``computed_by`` is the path of the batch
    norm that computes a PReLU, and empty for all other blocks.
    """

    path: str
    block: str
    operator: str
    reason: str = ""
    computed_by: str = ""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        other = f", computed by {self.computed_by}" if self.computed_by else ""
        return f"{self.path or _ROOT}: {self.block}, {self.operator}{other}{reason}"


@dataclass
class FuseReport:
    """What :func:`fuse` did. Printing it gives one line for each block.

    ``fused`` lists the blocks that now run the operators. ``left`` lists the blocks that resemble an operator but were
    not changed, each with the reason. ``already`` lists the paths of blocks that were fused before.
    """

    fused: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    already: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"fused ({len(self.fused)}):", *(f"  {finding}" for finding in self.fused)]
        if self.already:
            lines.append(f"fused before ({len(self.already)}):")
            lines += [f"  {path or _ROOT}" for path in self.already]
        lines += [f"left in plain PyTorch ({len(self.left)}):", *(f"  {finding}" for finding in self.left)]
        return "\n".join(lines)


def fuse(model: nn.Module) -> FuseReport:
    """Run the blocks of a model on the fused operators, in place.

    ``fuse`` examines every module, including the model itself. It searches for the convolutions of a Multi-Order block,
    of a Conv-Block, or of a single causal depthwise convolution. The names of modules do not matter. ``fuse`` checks
    padding, groups, stride, dilation, kernel, hooks and parametrizations. It then runs a copy of the block and the
    operator in float64 on small random inputs with random parameters. The block is fused only if the output and all
    gradients agree. All other modules stay unchanged.

    Parameters on the meta device have no values yet. The block is then tried on the CPU.

    A missing bias counts as zeros.

    An ``nn.GRU`` becomes :class:`lite_rtse_ext.nn.GRU`, and an ``nn.LSTM`` becomes :class:`lite_rtse_ext.nn.LSTM`. They
    may have any number of layers, and one or both directions. The operators do not support an LSTM with a projection.

    An ``nn.Conv1d`` with one tap and enough weights becomes :class:`lite_rtse_ext.nn.Conv1d`.

    An ``nn.BatchNorm1d`` or ``nn.BatchNorm2d`` and an ``nn.PReLU`` become those of :mod:`lite_rtse_ext.nn`. If the
    PReLU alone reads the result of the batch norm in the ``forward`` of the module that calls both, the batch norm
    computes both, and the report says so. Once one of the two is replaced or gets a hook, each computes for itself.
    Call :func:`unfuse` before something else than that ``forward`` reads the batch norm's result. An
    ``nn.ConvTranspose2d`` becomes :class:`lite_rtse_ext.nn.ConvTranspose2d`, and an ``nn.Linear`` with enough weights
    becomes :class:`lite_rtse_ext.nn.Linear`. An ``nn.Conv2d`` with stride 2 over bins gets a faster gradient.

    A module of two equal convolutions that computes a complex one has three real convolutions then, in place of four.
    Its channels are the real parts first. The last axis may be padded in front, as in the public code of DCCRN.

    A reconstruction is fused if it is a :class:`lite_rtse_ext.reference.MaskResidual`. ``fuse`` replaces modules only,
    so it cannot find a reconstruction that is written inside a ``forward``. Call
    :func:`lite_rtse_ext.ops.mask_residual` there.

    A block runs its original forward while one of its convolutions is replaced, as by an adapter, or has hooks. The
    hooks of pruning and of the older weight and spectral norm do not hinder the operator.

    Under ``torch.jit.trace`` and ``torch.onnx.export`` a fused block runs its original forward. The graph then does not
    need this package. Call :func:`unfuse` before ``torch.jit.script``.

    Args:
        model: any module, in any mode, on CPU, CUDA or the meta device. Features in it must be (B, C, T, F).

    Returns:
        The fused blocks, and the blocks that were not fused with the reasons.

    Raises:
        RuntimeError: the compiled operators are missing.
        TypeError: the model is no module.
    """
    _native.require()
    _check_model(model)
    report = FuseReport()
    _visit(model, "", report, set())
    _join(model, report)
    report.left = list(_worth_telling(report))
    return report


def unfuse(model: nn.Module) -> list[str]:
    """Restore the original class of every fused block of a model, in place. This undoes :func:`fuse`.

    Args:
        model: any module.

    Returns:
        Paths of the restored blocks.

    Raises:
        RuntimeError: the class of a block was changed after ``fuse``, for example by a parametrization or
            ``fully_shard``. No block is changed in this case.
        TypeError: the model is no module.
    """
    _check_model(model)
    blocks = [(path, module) for path, module in model.named_modules() if isinstance(module, _Fused)]
    bases = [_base_of(module, path) for path, module in blocks]
    for (_, block), base in zip(blocks, bases, strict=True):
        separate(block)
        block.__class__ = base  # type: ignore[assignment]
        del block._fused_operator, block._fused_convs
    return [path for path, _ in blocks]


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")


class _Fused(NotScriptable, nn.Module):
    """The first base of every fused block's class. The second base is the block's original class."""

    _fused_operator: str
    _fused_convs: tuple[str, ...]
    _fused_input: str  # the name that the author gave the forward's argument
    _pair: Pair | None = None  # of a batch norm or a PReLU

    def forward(self, *args: Any, **named: Any) -> Tensor:
        inputs = (*args, *named.values())
        is_right = len(inputs) == 1 and all(name == self._fused_input for name in named)
        # Without the one argument Python raises the error.
        convs = self._plain_convolutions() if is_right and not is_for_elsewhere() else None
        if convs is None or not takes(self._fused_operator, convs, *inputs):
            return cast("Tensor", super().forward(*args, **named))
        run_weight_hooks(self._inner(convs))
        return run_operator(self._fused_operator, self._fused_convs, convs, *inputs)

    def _plain_convolutions(self) -> list[nn.Conv2d] | None:
        """The convolutions. None if one was replaced, or has a hook, since the block has to call it then."""
        try:
            convs = convolutions(self, self._fused_convs)
        except AttributeError:  # a module that held one was replaced
            return None
        return convs if are_plain(self._inner(convs)) else None

    def _inner(self, convs: list[nn.Conv2d]) -> list[nn.Conv2d]:
        """Those that are not the block itself."""
        return [conv for path, conv in zip(self._fused_convs, convs, strict=True) if path]

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is created at run time, so pickle cannot find it by name. Pickle can find the original class.
        make, arguments, *rest = cast("tuple[Any, ...]", super().__reduce_ex__(protocol))
        base = _base_of(self)
        if make is not copyreg.__newobj__:  # type: ignore[attr-defined]
            raise TypeError(f"{base.__name__} pickles itself in its own way: unfuse the model first")
        return _new_fused, (base, *arguments[1:]), *rest


def _base_of(block: _Fused, path: str = "") -> type[nn.Module]:
    """The class that the block had before it was fused."""
    kind = type(block)
    base = kind.__mro__[kind.__mro__.index(_Fused) - 1].__bases__[1]
    if _CLASSES.get(base) is not kind:
        raise RuntimeError(
            f"{path or _ROOT}: its class was changed to {kind.__name__} after fuse. Undo that first "
            "(a parametrization by torch.nn.utils.parametrize.remove_parametrizations), or unfuse before it"
        )
    return base


_FUSED = (_Fused, *_OURS)
_CLASSES: dict[type[nn.Module], type[_Fused]] = {}


def _fused_class(base: type[nn.Module]) -> type[_Fused]:
    if base not in _CLASSES:
        members: dict[str, Any] = {"__module__": base.__module__, "__doc__": base.__doc__}
        if base in _FORWARDS:
            members["forward"] = _FORWARDS[base]
        else:
            _, members["_fused_input"] = inspect.signature(base.forward).parameters
        _CLASSES[base] = type(f"Fused{base.__name__}", (_Fused, base), members)
    return _CLASSES[base]


def _new_fused(base: type[nn.Module], *arguments: Any) -> nn.Module:
    fused = _fused_class(base)
    return fused.__new__(fused, *arguments)


def _visit(module: nn.Module, path: str, report: FuseReport, seen: set[nn.Module]) -> None:
    if module in seen:
        return
    seen.add(module)
    if isinstance(module, _FUSED):
        report.already.append(path)
        return
    # A module that holds only one block could be fused too. The inner block is preferred, since its author would name
    # that one.
    # A convolution alone comes last: what pads it would be computed twice.
    chain = sorted(_chain(module, path), key=lambda each: isinstance(each[1], nn.Conv2d))
    of_module = None
    for where, block in chain:
        finding = _examine(block, where)
        if finding is not None and not finding.reason:
            report.fused.append(finding)
            seen.add(block)
            return
        of_module = finding if block is module else of_module
    if of_module is not None:
        report.left.append(of_module)
        if of_module.operator == "causal_dwconv2d":
            return  # it contains nothing else
    if not isinstance(module, nn.Conv2d):
        for name, child in module.named_children():
            _visit(child, f"{path}.{name}" if path else name, report, seen)


def _join(model: nn.Module, report: FuseReport) -> None:
    """Let batch norms compute the PReLUs that alone read their results."""
    paths = {module: path for path, module in model.named_modules()}
    computed_by = {}
    for pair in norm_prelu_pairs(model):
        norm, act = pair.layers()
        if all(isinstance(layer, _FUSED) and not has_hooks(layer) for layer in (norm, act)):
            pair.join()
            computed_by[paths[act]] = paths[norm]
    report.fused = [replace(each, computed_by=computed_by.get(each.path, "")) for each in report.fused]


def _chain(module: nn.Module, path: str) -> list[tuple[str, nn.Module]]:
    """The module, its only child, that child's only child, and so on, each with its path. The innermost is first.

    The innermost does not have exactly one child.
    """
    chain = [(path, module)]
    while len(children := list(module.named_children())) == 1:
        ((name, module),) = children
        path = f"{path}.{name}" if path else name
        chain.append((path, module))
    return chain[::-1]


def _examine(module: nn.Module, path: str) -> Finding | None:
    """Fuse a module if it is a block. Returns None if it resembles no block or already holds fused blocks."""
    if any(isinstance(inner, _FUSED) for inner in module.modules()):
        return None
    block, candidate = type(module).__name__, recognize(module)
    if candidate is not None:
        return Finding(path, block, candidate.operator, _fuse_block(module, candidate))
    for candidate in complex_candidates(module):
        roles, _ = _matching_roles(module, candidate)
        if roles:
            return Finding(path, block, candidate.operator, _told(candidate) or _run_on(module, candidate, roles))
    return None


def _fuse_block(block: nn.Module, candidate: Candidate) -> str:
    """Fuse one block. Returns the reason if it cannot be fused, otherwise an empty string."""
    if candidate.problems:
        return _told(candidate)
    roles, reason = ((), "") if type(block) in LAYERS else _matching_roles(block, candidate)
    return reason if roles is None else _run_on(block, candidate, roles)


def _told(candidate: Candidate) -> str:
    return "; ".join(candidate.problems)


def _run_on(block: nn.Module, candidate: Candidate, roles: tuple[str, ...]) -> str:
    """Let a block run the operator of a candidate. Returns the reason if that is impossible."""
    try:
        block.__class__ = _fused_class(type(block))
    except TypeError as error:
        return f"its class can't be changed ({error})"
    fused = cast("_Fused", block)
    fused._fused_operator, fused._fused_convs = candidate.operator, roles
    return ""


def _worth_telling(report: FuseReport) -> Iterator[Finding]:
    def inside(path: str, outer: str) -> bool:
        return path != outer and (not outer or path.startswith(f"{outer}."))

    # A whole network may hold the convolutions of a block and be left because of its other layers. That is not
    # reported if a module inside it is the block.
    found = [*report.fused, *report.left]
    left = [
        finding
        for finding in report.left
        if not any(inside(other.path, finding.path) and other.operator == finding.operator for other in found)
    ]
    # A single convolution that was not fused is not reported either if it is inside a block that was left.
    blocks = [finding.path for finding in left if finding.operator != "causal_dwconv2d"]
    for finding in left:
        if not any(inside(finding.path, block) for block in blocks):
            yield finding


def _matching_roles(block: nn.Module, candidate: Candidate) -> tuple[tuple[str, ...] | None, str]:
    """The order of convolutions in which the operator agrees with the block, or None and the reason."""
    # Nothing can be computed on meta. The CPU serves as well, since the probe's parameters are random.
    device = next((p.device for p in block.parameters() if not p.is_meta), torch.device("cpu"))
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        try:
            probe = Probe(block, candidate, device)
        except Exception as error:  # other code may raise anything; the report states the error
            return None, f"its forward failed on a small random input: {type(error).__name__}: {error}"
        differences = []
        for roles in candidate.roles:
            try:
                differences.append(probe.difference(candidate.operator, roles))
            except (RuntimeError, TypeError, ValueError) as error:
                return None, f"the operator refused it: {error}"
            if differences[-1] <= _TOLERANCE:
                return roles, ""
    return None, f"its forward computes something else: relative difference {min(differences):.1e} from the operator"
