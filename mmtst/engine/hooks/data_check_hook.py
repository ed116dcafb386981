"""Look at the training data before a long training relies on it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from mmtst.datasets.built_data import check_counts, class_names, count_data
from mmtst.datasets.loaded_samples import check_loaded
from mmtst.engine.hooks.policy_search_hook import PolicySearchHook
from mmtst.engine.randomness import preserved_rng, seed_all
from mmtst.engine.run_context import bare_model
from mmtst.models.algorithms.ignored_label import ignored_label
from mmtst.models.head_classes import (
    check_class_order,
    check_model_classes,
    head_classes,
)
from mmtst.registry import HOOKS
from mmtst.utils.checks import check_flag, check_number
from mmtst.utils.errors import ConfigError

_WHERE = 'train_dataloader.dataset'


@HOOKS.register_module()
class DataCheckHook(Hook):  # type: ignore[misc]
    """Refuse training data from which nothing can be learned, or not safely.

    The data set that was built is looked at, not the files alone: images,
    objects of each class, a sample of images with their boxes and label maps
    as the pipeline loads them, and whether student and teacher know the
    classes of the data, in their order. What harms little is logged. Random
    states are afterwards as they were.

    The first process looks, all refuse together. It takes some seconds:
    about 50 microseconds an image of at most 20,000, and what it takes to
    load ``images``.

    Args:
        images: Images of each data set to load, spread evenly; ``None`` for
            all of them, which takes as long as an epoch of loading.
        enabled: ``False`` switches it off where a base config has it.

    Raises:
        ConfigError: An option is out of range; at the start of the training,
            the data cannot be used.
    """

    # Before the look at the teacher.
    priority = 'HIGH'

    def __init__(self, images: int | None = 32, enabled: bool = True) -> None:
        where = 'default_hooks.data_check'
        check_number(
            f'{where}.images', images, least=0, whole=True, optional=True
        )
        check_flag(f'{where}.enabled', enabled)
        self.images = images
        self.enabled = enabled

    def before_train(self, runner: Any) -> None:
        """Look at the training data, and at the models' classes."""
        if not self.enabled:
            return
        failure: Exception | None = None
        if is_main_process():
            try:
                with preserved_rng():
                    # The same look at each start, resumed or not.
                    seed_all(0)
                    self._look(runner)
            # Of any kind: the others would wait for ever.
            except Exception as error:
                failure = error
        outcome = [None if failure is None else _say(failure)]
        broadcast_object_list(outcome)
        if failure is not None:
            raise failure
        if outcome[0] is not None:
            raise ConfigError(outcome[0])

    def _look(self, runner: Any) -> None:
        dataset = runner.train_loop.dataloader.dataset
        model = bare_model(runner)
        student = getattr(model, 'student', model)
        names = class_names(dataset)
        counts = count_data(
            dataset, **({'most': None} if self.images is None else {})
        )
        num_classes = len(names) or max(
            head_classes(student).values(), default=0
        )
        summary, *odd = check_counts(counts, names, _WHERE, num_classes)
        runner.logger.info(summary)
        if names:
            odd += _compare_classes(runner, model, names)
        odd += check_loaded(
            dataset,
            _WHERE,
            images=self.images,
            whole=4 if self.images != 0 else 0,
            num_classes=num_classes,
            ignored=ignored_label(student, student),
            channels=_normalized_channels(model),
        )
        for line in odd:
            runner.logger.warning(line)


def _say(failure: Exception) -> str:
    """Word a failure of the first process for the others."""
    if isinstance(failure, ConfigError):
        return str(failure)
    return (
        'the first process could not look at the data: '
        f'{type(failure).__name__}: {failure}'
    )


def _normalized_channels(model: Any) -> int | None:
    """Return the channels that a preprocessor has mean values for."""
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    return mean.numel() if isinstance(mean, torch.Tensor) else None


def _compare_classes(
    runner: Any, model: Any, names: tuple[str, ...]
) -> list[str]:
    """Check student and teacher; return what is odd about them."""
    teacher = getattr(model, 'teacher', None)
    if teacher is None:
        check_model_classes(model, names, 'model')
        return []
    check_model_classes(model.student, names, 'model.architecture')
    odd = []
    searched = any(isinstance(h, PolicySearchHook) for h in runner.hooks)
    if searched:
        # Its losses are computed on the data's labels.
        check_model_classes(teacher, names, 'model.teacher')
    elif set(head_classes(teacher).values()) - {len(names)}:
        odd.append(
            f'model.teacher has {head_classes(teacher)} classes, the data '
            f'have {len(names)}: only features can be compared'
        )
        return odd
    try:
        said = check_class_order(teacher, names, 'model.teacher_ckpt')
    except ConfigError as error:
        if searched or not _compares_features_alone(model):
            raise
        said = ' '.join(str(error).split()) + '; features alone are compared'
    return [*odd, said] if said else odd


def _compares_features_alone(model: Any) -> bool:
    """Tell whether nothing of the teacher's heads is recorded."""
    manager = getattr(
        getattr(model, 'distiller', None), 'teacher_recorders', None
    )
    recorders = getattr(manager, 'recorders', {}).values()
    return bool(recorders) and not any(
        'head' in str(recorder.source) for recorder in recorders
    )
