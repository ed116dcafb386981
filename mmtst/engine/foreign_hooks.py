"""Refuse hooks of other packages that cannot act on a distillation.

Most hooks that reach into the model find the student, whose attributes the
algorithm hands out (``TeacherStudentDistill.__getattr__``). Named here are
those that would do something else, or nothing: by their class names, so that
packages need not be installed.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from mmtst.engine.run_context import bare_model
from mmtst.utils.errors import ConfigError

# They set the pipeline of the training data, the student's loss or its epoch.
SWITCHES = (
    'PipelineSwitchHook',
    'SetEpochInfoHook',
    'SwitchRecipeHook',
    'YOLOXModeSwitchHook',
)
_REFUSED = {
    'MeanTeacherHook': 'it writes the average of the student over the '
    'teacher, whose weights a distillation leaves as they are',
    'DenseCLHook': 'it sets an attribute of the model itself, where the '
    'student would not find it',
    'SwAVHook': 'it freezes parameters by names that the distillation changes',
    'PrepareProtoBeforeValLoopHook': 'it prepares prototypes of retrievers '
    'alone, and a distillation is none',
}
_COUNTING = ('NumClassCheckHook', 'ClassNumCheckHook')
_NO_COUNT = object()
# By mmdet's hook, which passes over RPNs as well.
_NOT_COUNTED = ('VGG', 'FusedSemanticHead')
_TAKE_OUT = 'take it out of custom_hooks'


def check_foreign_hooks(runner: Any) -> None:
    """Check that the other hooks of a run reach what they are meant for.

    Args:
        runner: Of mmengine; models without teacher and student are not
            looked at.

    Raises:
        ConfigError: One does not.
    """
    model = bare_model(runner)
    student = getattr(model, 'student', None)
    if student is None or getattr(model, 'teacher', None) is None:
        return
    for hook in runner.hooks:
        names = [cls.__name__ for cls in type(hook).__mro__]
        for name in names:
            if name in _REFUSED:
                raise ConfigError(
                    f'{name} cannot be used here: {_REFUSED[name]}',
                    where='custom_hooks',
                    got=type(hook).__name__,
                    fix=_TAKE_OUT,
                )
        for name in _COUNTING:
            if name in names:
                _check_counts(name, model, student)
        if 'SwitchRecipeHook' in names:
            _check_recipes(hook, student)


def _check_counts(hook: str, model: nn.Module, student: nn.Module) -> None:
    """Refuse a look at num_classes of all modules where some have others."""
    inside = set(student.modules())
    counts = {
        module.num_classes
        for module in inside
        if hasattr(module, 'num_classes')
    }
    known = {*counts, _NO_COUNT}
    for name, module in model.named_modules():
        if module in inside or module is model:
            continue
        if hook == 'NumClassCheckHook' and (
            name.endswith('rpn_head') or type(module).__name__ in _NOT_COUNTED
        ):
            continue
        if getattr(module, 'num_classes', _NO_COUNT) not in known:
            raise ConfigError(
                f'{hook} compares num_classes of every module '
                'with the data, those of the teacher and of the losses '
                'included',
                where='custom_hooks',
                got=f'{name}.num_classes = {module.num_classes}',
                allowed=', '.join(map(str, sorted(counts, key=str)))
                + ', as the student',
                fix=_TAKE_OUT,
            )


def _check_recipes(hook: Any, student: nn.Module) -> None:
    """Refuse to switch a loss that the student itself holds."""
    recipes = getattr(hook, 'schedule', {}).values()
    if any('loss' in recipe for recipe in recipes) and hasattr(
        student, 'loss_module'
    ):
        raise ConfigError(
            'the loss of this student cannot be switched: SwitchRecipeHook '
            'would set that of the algorithm',
            where='custom_hooks: SwitchRecipeHook.schedule',
            got=f'a recipe with loss, for {type(student).__name__}',
            allowed='students whose head holds the loss (head.loss_module)',
            fix='leave loss out of the schedule',
        )


def check_switches_come_first(runner: Any, search: Any) -> None:
    """Check that a search sees the pipelines and losses of its epoch.

    Args:
        runner: Of mmengine.
        search: The hook that searches.

    Raises:
        ConfigError: A hook that switches them acts after it.
    """
    later = runner.hooks[runner.hooks.index(search) + 1 :]
    for hook in later:
        if any(cls.__name__ in SWITCHES for cls in type(hook).__mro__):
            name = type(hook).__name__
            raise ConfigError(
                f'{name} acts after the policy search: a search before the '
                'epoch of the switch would see what was there before it',
                where='custom_hooks: priority',
                got=f'{hook.priority} of {name}, {search.priority} of '
                f'{type(search).__name__}',
                allowed=f'{name} first; without a priority it is',
                fix='leave priority out of both',
            )
