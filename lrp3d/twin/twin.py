"""The relevance twin of a model: same outputs, shared parameters, and gradients that are relevance.

`convert` copies the module tree (`copying`), sharing every tensor. A run of the copy records the graph, operations
without a rule, and whether random numbers were drawn. The user's model is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from lrp3d.compiling import not_compiled
from lrp3d.composites import Composite
from lrp3d.composites.named import composite_of, name_of
from lrp3d.compute.buffers import Memory
from lrp3d.errors import ModelError, UnsupportedOperation
from lrp3d.outputs import tensors_of
from lrp3d.registry import current_tracer
from lrp3d.steps.step import Step
from lrp3d.suggestions import names_hint
from lrp3d.tracing.advice import FOREIGN
from lrp3d.tracing.tracer import Tracer
from lrp3d.transfer import answers_by_name, finite
from lrp3d.twin.audit import assign_rules, unsupported
from lrp3d.twin.calling import call_model, could_not_run, explains_itself
from lrp3d.twin.copying import Copier
from lrp3d.twin.entered_clips import EnteredClips
from lrp3d.twin.given import module_of, original_code, programs_in, without_wrappers
from lrp3d.twin.kept_state import KeptState
from lrp3d.twin.kept_tensors import restored_tensors, restored_values
from lrp3d.twin.probabilities import before_probabilities
from lrp3d.twin.random_state import DIFFERS, Draws, kept_random_state, same_output
from lrp3d.twin.ranges import Range
from lrp3d.twin.same_logits import differs_alone, warn_of_other_logits
from lrp3d.twin.trace import Trace


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same values, where NaN is the same as NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


_NO_GRADIENTS = "does not require grad"
"""Part of torch's error for a forward that takes gradients where none are recorded."""

_OTHER_DRAWS = (0x1F3D5B79, 0x2E4C6A88, 0x3D5B7997, 0x4C6A88A6)
"""Seeds that a caller hardly uses; several, because two draws of few frames may be the same by chance."""


def check_outermost() -> None:
    """Raises ModelError inside the forward of a model that is being explained, whose graph another one would break."""
    if current_tracer.get() is not None:
        raise ModelError(
            "a twin runs, or a model is explained, inside the forward of a model that is itself being explained: make "
            "that model of plain modules, and explain the inner one outside of its forward"
        )


def _replies(tracer: Tracer, clips: EnteredClips, output: Any, alone: Sequence[Tensor]) -> dict[str, list[bool]]:
    """What a run leaves to be asked about numbers, all at once, as a device is waited for only once."""
    return answers_by_name(
        clip_is_finite=[finite(clips.given)],
        output_is_finite=[finite([output])],
        outside=clips.far_outside(),
        alone=alone,
        assumed=tracer.answers.assumed,
    )


def _before_probabilities(tracer: Tracer, output: Any) -> tuple[Any, list[Step]]:
    """What goes into the softmax or sigmoid with which a model ends, and its steps; else the output, and none."""
    return before_probabilities(tracer, output) if tracer.is_signal(output) else (output, [])


def _signals_in(tracer: Tracer, output: Any) -> list[Tensor]:
    """The tensors that descend from the clip; where none does, the output if it is a tensor itself."""
    signals = [x for x in tensors_of(output) if tracer.is_signal(x)]
    return signals or ([output] if isinstance(output, Tensor) else [])


Known = TypeVar("Known")


class Remembered(dict[Hashable, Known]):
    """What a twin remembers of earlier clips; a copy, or a twin in another process, begins without any."""

    def __reduce__(self) -> tuple[type[Remembered[Known]], tuple[()]]:
        return Remembered, ()


class Twin(nn.Module):
    """The relevance twin of a model; made by `convert`.

    It is called like the model and has the same outputs. If an input requires grad, gradients through the twin are
    relevance. It shares the model's parameters: after moving or retraining the model, convert it again.

    >>> import torch, lrp3d
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> twin = lrp3d.convert(model, "epsilon")
    >>> x = torch.rand(1, 3, 2, 2, requires_grad=True)
    >>> torch.equal(twin(x), model(x)), twin.model[1].weight is model[1].weight
    (True, True)
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[1.0, 0.0]]))[0].shape  # the relevance for class 0
    torch.Size([1, 3, 2, 2])
    """

    def __init__(self, model: nn.Module, composite: Composite):
        super().__init__()
        copier = Copier()
        self.model: nn.Module = copier(model, "")
        self.composite = composite
        self.training: bool = getattr(model, "training", False)  # a frozen program has no modes
        self.input_range: Any = getattr(model, "input_range", None)
        self._own = copier.tensors
        self.memory: Memory = Memory()
        self.floors: dict[Hashable, Tensor] = Remembered()
        """Relevance of the untrained model (`lrp3d.floor`), by the kind of clips for which it is."""
        self.zero_denominators: dict[Hashable, list[bool]] = Remembered()
        """Where relevance arrived at denominators of zero, by the kind of explanation (`steps.zero_denominators`)."""
        self.chunks_that_fit: dict[Hashable, Any] = Remembered()
        """How many seeds are explained at once where memory ran out with more, by the kind of explanation."""
        self._generators = copier.generators
        self._alive = copier.alive
        self._state = KeptState(copier.made)
        self._answers: dict[Hashable, list[bool]] = Remembered()
        """Answers to questions of earlier forwards about numbers, by the shapes of their inputs."""

    @not_compiled
    def forward(self, *inputs: Any) -> Any:
        """The model's output; relevance of the inputs is `torch.autograd.grad(output, input, relevance)`."""
        check_outermost()
        leaves = [x for x in tree_flatten(inputs)[0] if isinstance(x, Tensor)]
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in leaves)):
            device = leaves[0].device if leaves else torch.device("cpu")
            with self.unchanged(device):
                return self.model(*inputs)
        record = self.record(inputs)
        if record.problems:
            raise UnsupportedOperation(record.problems)
        return record.output

    @contextmanager
    def unchanged(self, device: torch.device, seed: int | None = None) -> Iterator[None]:
        """After this block, the model and the random generators are as before, but parameters may have other values."""
        with kept_random_state(device, seed), restored_values(self._own), self._state:
            yield

    def record(
        self,
        inputs: Sequence[Any],
        input_range: Range | Sequence[Range | None] | None = None,
        layout: str = "bcthw",
        contrastive: bool = False,
        read: Callable[[Any], Any] | None = None,
        constants: Sequence[str] = (),
        seed: int | None = None,
        layers: Sequence[str] = (),
    ) -> Trace:
        """Run the model on `inputs`, record the run, and give every step its rule.

        Args:
            inputs: the model's positional arguments; every floating-point tensor among them is a clip.
            input_range: (low, high) of valid inputs, scalars or one per channel, or one for each clip among the
                inputs; default as in `lrp3d.explain`.
            layout: layout of the clips among the inputs; others are images (b, c, h, w) or features (b, c).
            contrastive: whether the classifier's rule becomes `Contrastive`.
            read: makes the output from what the model returns, inside the run; if these are probabilities, the output
                is the input of the final softmax or sigmoid.
            constants: name patterns of modules whose outputs are held constant.
            seed: seed of the random numbers that the forward draws. Without one, and with `read`, a forward that draws
                is run again, and it is a problem if its output differs.
            layers: name patterns of modules whose outputs become steps of their own (`Outlet`).

        Raises:
            ValueError: if a pattern in `constants` or `layers` fits no module that ran.
        """
        check_outermost()
        leaves, spec = tree_flatten(tuple(inputs))
        kind = tuple((x.shape, x.dtype, x.device) if isinstance(x, Tensor) else None for x in leaves), layout
        known = self._answers.get(kind)
        tracer = Tracer(self._own, self.composite, constants, seed is not None, layers, known or [])
        with torch.inference_mode(False), torch.enable_grad():
            clips = EnteredClips(tracer, leaves, input_range if input_range is not None else self.input_range, layout)
            returned, drew = self._follow(tracer, tree_unflatten(clips.leaves, spec), layout, read, seed, clips.device)
            is_first = known is None and len(inputs) == 1
            alone = [differs_alone(self.run, inputs[0], layout, read, returned, drew)] if is_first else []
            replies = _replies(tracer, clips, returned if read is not None else None, alone)
            if not self._keep_answers(kind, tracer, replies["assumed"]):
                return self.record(inputs, input_range, layout, contrastive, read, constants, seed, layers)
            clips.warn(replies["outside"])
            if any(replies["alone"]):
                assert read is not None
                warn_of_other_logits(self.run, inputs[0], read, returned)
            differs = drew and seed is None and self._differs_with_other_draws(inputs, read, returned)
            output, left_out = _before_probabilities(tracer, returned) if read is not None else (returned, [])
        self._check_patterns(tracer)
        outputs = _signals_in(tracer, output)
        problems = ([f"the forward: {DIFFERS}"] if differs else []) + self._problems(tracer, outputs)
        self._assign_rules(tracer, outputs, contrastive, problems)
        return Trace(
            tracer,
            clips.entries,
            output,
            problems,
            left_out,
            drew,
            differs,
            clip_is_finite=all(replies["clip_is_finite"]),
            output_is_finite=all(replies["output_is_finite"]),
            probabilities=returned if left_out else None,
        )

    def _follow(
        self,
        tracer: Tracer,
        inputs: Sequence[Any],
        layout: str,
        read: Callable[[Any], Any] | None,
        seed: int | None,
        device: torch.device,
    ) -> tuple[Any, bool]:
        """What `read` makes of what the model returns, recorded by `tracer`, and whether random numbers were drawn."""
        with kept_random_state(device, seed):
            draws = Draws(device, self._generators)
            own_types = torch.autocast(device.type, enabled=False)
            with tracer, own_types, restored_tensors(self._own), self._state, original_code():
                output = call_model(self.model, inputs, layout)
                output = output if read is None else read(output)
            drew = bool(draws)
        output = tree_map(tracer.resolve, output)
        tracer.forget_writes()
        tracer.answers.over = True
        return output, drew

    def _keep_answers(self, kind: Hashable, tracer: Tracer, replies: Sequence[bool]) -> bool:
        """Keeps the answers of a run for the next of its kind, or forgets them where what it assumed was wrong."""
        if tracer.answers.confirmed(replies):
            self._answers[kind] = tracer.answers.values
            return True
        self._answers.pop(kind, None)
        return False

    def _check_patterns(self, tracer: Tracer) -> None:
        """Raises ValueError if a pattern in `constants` or `layers` fits no module that ran."""
        for patterns in (tracer.constants, tracer.layers):  # layers are those of layers= and of where=
            if unmatched := [pattern for pattern, met in patterns.items() if not met]:
                modules = [name for name, _ in self.model.named_modules()]
                names = [name for name in modules if name in tracer.ran]
                for name in unmatched:
                    if name in modules and not any(other.startswith(f"{name}.") for other in names):
                        raise ValueError(
                            f"'{name}' is a module that does not run in this forward, whether another one uses its "
                            "weights or nothing does: name the module around it"
                        )
                listed, fit = ", ".join(map(repr, unmatched)), "fits" if len(unmatched) == 1 else "fit"
                raise ValueError(f"{listed} {fit} no module that ran; {names_hint(unmatched, names)}")

    def _problems(self, tracer: Tracer, outputs: Sequence[Tensor]) -> list[str]:
        """One line for everything between the outputs and the clip that has no rule."""
        problems = list(dict.fromkeys(problem for x in outputs for problem in unsupported(tracer, x)))
        programs = programs_in(self.model) if problems else []
        if programs:  # what they do shows as operations that nobody knows
            whole = any(program.startswith("the model:") for program in programs)
            problems = programs + [problem for problem in problems if FOREIGN not in problem and not whole]
        return problems

    def _assign_rules(
        self, tracer: Tracer, outputs: Sequence[Tensor], contrastive: bool, problems: Sequence[str]
    ) -> None:
        """Gives every step its rule."""
        try:
            assign_rules(tracer.steps, outputs, self.composite, contrastive)
            self.composite.check_products(tracer.products)
        except ValueError:
            if not problems:  # else these are said: they may hide the layer that the contrast needs
                raise

    def _differs_with_other_draws(self, inputs: Sequence[Any], read: Callable[[Any], Any] | None, output: Any) -> bool:
        """Whether the model returns another output with other random numbers; without `read`, nobody asks."""
        if read is None or not isinstance(output, Tensor) or len(inputs) != 1:
            return False
        with torch.no_grad():
            return not all(same_output(read(self.run(inputs[0], seed=seed)), output) for seed in _OTHER_DRAWS)

    def run(self, clip: Any, method: str = "", seed: int | None = None) -> Any:
        """What the model, or a method of it, returns by its own forward, without relevance and without a trace.

        A forward that takes gradients itself runs with gradients; all others run without, which needs less memory.
        """
        leaves = [x for x in tree_flatten(clip)[0] if isinstance(x, Tensor)]
        device = leaves[0].device if leaves else torch.device("cpu")
        run = getattr(self.model, method) if method else self.model

        def run_once(gradients: bool) -> Any:
            own_types = torch.autocast(device.type, enabled=False)
            mode = torch.enable_grad() if gradients else torch.no_grad()
            with self.unchanged(device, seed), own_types, torch.inference_mode(False), mode, original_code():
                # A copy, as a forward may change its input in place.
                return run(tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, clip))

        try:
            return run_once(gradients=False)
        except Exception as error:
            if explains_itself(error):
                raise
            if _NO_GRADIENTS not in str(error):
                raise could_not_run(error, [x for x in leaves if isinstance(x, Tensor)]) from error
        return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, run_once(gradients=True))

    def same_in_evaluation(self, clip: Any) -> bool:
        """Whether the model returns the same if the modules in training mode are in evaluation mode."""
        modules = [module for module in self.model.modules() if getattr(module, "training", False)]
        try:
            as_it_is = tensors_of(self.run(clip))
            for module in modules:
                module.training = False
            evaluated = tensors_of(self.run(clip))
        finally:
            for module in modules:
                module.training = True
        return len(as_it_is) == len(evaluated) and all(map(_equal, as_it_is, evaluated))

    def train(self, mode: bool = True) -> Twin:
        """Raises ValueError if `mode` is true, because a twin has no training mode."""
        if mode:
            raise ValueError("a relevance twin cannot be trained; train the model it was converted from")
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Twin:
        raise ValueError(
            "a relevance twin shares its parameters with the model, so moving or casting it would change the model; "
            "move the model and convert again"
        )


@not_compiled
def convert(model: nn.Module, composite: str | Composite | None = None) -> Twin:
    """Make the relevance twin of `model`: same outputs, shared parameters, and gradients that are relevance.

    It is for many clips, or for your own relevance at the logits: `torch.autograd.grad(twin(x), x, r)` is the relevance
    of x (shaped like x) when the logits have relevance r (b, k), in plain autograd.

    Args:
        model: any `nn.Module` CNN; it is never modified. In training mode, dropout and batch norm are refused.
        composite: a name or a `Composite`; None is "paper", or the composite of a twin, which is then returned itself.

    Raises:
        TypeError: if `model` is no module and was not compiled from one, or `composite` neither a name nor a composite.
        ValueError: if there is no composite of that name.
        UnsupportedOperation: when the twin runs, if an operation has no rule.

    >>> import torch, lrp3d
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1)).eval()
    >>> twin, x = lrp3d.convert(model), torch.rand(4, 3, requires_grad=True)
    >>> relevance, = torch.autograd.grad(twin(x), x, torch.ones(4, 1))
    >>> relevance.sum(1)
    tensor([1.0000, 1.0000, 1.0000, 1.0000])
    """
    model = without_wrappers(model)
    if isinstance(model, Twin):
        same = composite is None or model.composite == composite_of(composite)
        return model if same or composite is None else Twin(model.model, composite_of(composite))
    return Twin(module_of(model), composite_of("paper" if composite is None else composite))


def twin_of(model: nn.Module, composite: str | Composite | None = None) -> Twin:
    """The twin that explains `model`, or `model` itself if it is a twin; raises ValueError if that has other rules.

    Args:
        model: any model, or a twin.
        composite: the composite wanted; None for the paper's, or the twin's own.
    """
    model = without_wrappers(model)
    if not isinstance(model, Twin):
        return convert(model, composite)
    if composite is not None and composite_of(composite) != model.composite:
        raise ValueError(
            f"this twin was converted with the composite {name_of(model.composite)}, "
            f"not {name_of(composite_of(composite))}: "
            "leave composite out, or convert the model again with the other one"
        )
    return model
