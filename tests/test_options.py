"""Every option of every registered class is refused by name where wrong.

The table is complete: a class or an option that it does not have fails.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import pytest
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODELS as ROOT_MODELS

from mmtst.registry import DATASETS, HOOKS, MODELS
from mmtst.testing.cifar import write_cifar100
from mmtst.testing.detection import tiny_retinanet
from mmtst.utils.arguments import options_of
from mmtst.utils.errors import ConfigError


class Kind(NamedTuple):
    """Hold values that an option has to refuse."""

    bad: tuple[Any, ...]


NAN, INF = math.nan, math.inf
OTHERS = ([1], {'a': 1}, object())
NO_NUMBER = ('1', '', True, NAN, INF, -INF, *OTHERS)
NO_WORD = ('nonsense', '', 'nonsense\n', 1, None, True, *OTHERS)

FLAG = Kind((0, 1, 'True', '', None, *OTHERS))
COUNT = Kind((0, -1, 1.5, None, *NO_NUMBER))
COUNT_OR_NONE = Kind((0, -1, 1.5, *NO_NUMBER))
INDEX = Kind((-1, 1.5, None, *NO_NUMBER))
SEED = Kind((-1, 0.5, *NO_NUMBER))
# Over 0; of 0 the weight is one that switches off.
POSITIVE = Kind((0, -1.0, None, *NO_NUMBER))
POSITIVE_OR_NONE = Kind((0, -1.0, *NO_NUMBER))
WEIGHT = Kind((-0.1, None, *NO_NUMBER))
WEIGHT_OR_NONE = Kind((-0.1, *NO_NUMBER))
FRACTION = Kind((-0.1, 1.1, None, *NO_NUMBER))
PROBABILITY_OR_NONE = Kind((0, -0.1, 1.1, *NO_NUMBER))
MOMENTUM = Kind((-0.1, 1, None, *NO_NUMBER))
FLAG_OR_NONE = Kind((0, 1, 'True', '', *OTHERS))
WORD = Kind(NO_WORD)
WORD_OR_NONE = Kind(tuple(w for w in NO_WORD if w is not None))
INIT = Kind(('x', 1, True, dict(a=1), dict(type='nonsense'), dict(type=1)))
CONV = Kind(('x', 1, [1], dict(a=1), dict(type='nonsense'), dict(type=1)))
NORM = Kind(('x', 1, [1], dict(a=1), dict(type='nonsense'), dict(type=1)))
INNER = Kind(('x', 1, None, [], {}, dict(type='nonsense'), dict(type=None)))
MAPS = Kind((1, '1', None, [], [-1], [99], [1, 0], [1, 1], ['1'], [1.0], {}))
# Any of the kind is taken: what it names is looked up when it is used.
STRING_OR_NONE = Kind((1, True, *OTHERS))
CONFIG_OR_NONE = Kind(('x', 1, True, [1], object()))

INIT_ONLY = dict(init_cfg=INIT)
BACKBONE = dict(norm_cfg=NORM, out_indices=MAPS, **INIT_ONLY)
PREACT = dict(preact=FLAG, **BACKBONE)
ALGORITHM = dict(
    architecture=Kind((*INNER.bad, dict(cfg_path='x::y'), dict(cfg_path=1))),
    teacher=Kind((*INNER.bad, dict(cfg_path='x::y'), dict(cfg_path=1))),
    distiller=INNER,
    data_preprocessor=CONFIG_OR_NONE,
    module_inplace=FLAG,
    teacher_ckpt=Kind((*STRING_OR_NONE.bad, 'nowhere.pth', '')),
    teacher_trainable=Kind((*FLAG.bad, True)),
    teacher_norm_eval=Kind((*FLAG.bad, False)),
    student_trainable=Kind((*FLAG.bad, False)),
    calculate_student_loss=Kind((*FLAG.bad, False)),
    teacher_module_inplace=FLAG,
    untrained_teacher=FLAG,
    **INIT_ONLY,
)
MODEL_TABLE = dict(
    AugmentationEncoder=dict(
        preset=WORD,
        num_operators=Kind((*COUNT.bad, 15)),
        composition=WORD,
        temperature=POSITIVE,
        gate=WORD_OR_NONE,
        per_sample=FLAG_OR_NONE,
        magnitude_gate=FLAG_OR_NONE,
        apply_prob=PROBABILITY_OR_NONE,
        encoder_noise_std=WEIGHT_OR_NONE,
        color_first=FLAG_OR_NONE,
        network=WORD_OR_NONE,
        prior=Kind((*STRING_OR_NONE.bad, 'nowhere.pth')),
        aspect=WORD,
        mirror=FLAG,
        cutout_fraction=Kind((*POSITIVE.bad, 2.1)),
        fill=WORD,
        clamp_theta=POSITIVE,
        channel_order=WORD,
        **INIT_ONLY,
    ),
    model_from_config=dict(
        cfg_path=Kind((1, None, [1], 'nowhere.py', '', 'mmdet::nowhere.py')),
        cfg_options=CONFIG_OR_NONE,
        checkpoint=Kind((*STRING_OR_NONE.bad, 'nowhere.pth')),
    ),
    DataAugmentationDistiller=dict(
        student_recorders=Kind(
            (
                'x',
                dict(a=1),
                dict(a={}),
                dict(a=dict(type='nonsense', source='x')),
                dict(a=dict(type='ModuleOutputs')),
                dict(a=dict(type='ModuleOutputs', source=1)),
                dict(a=dict(type='MethodOutputs', source='x')),
                dict(a=dict(type='FunctionOutputs', source='x')),
                dict(a=dict(type='ModuleOutputs', source='x', sorce='y')),
            )
        ),
        teacher_recorders=Kind(('x', dict(a=1), dict(a=dict(type=1)))),
        distill_deliveries=Kind(('x', 1, dict(a=1))),
        connectors=Kind(('x', dict(a={}), dict(a=1), dict(a=[1]))),
        distill_losses=Kind(('x', dict(a={}), dict(a=dict(type='MimicLos')))),
        loss_forward_mappings=Kind(
            (
                'x',
                dict(a={}),
                dict(a=1),
                dict(kl=1),
                dict(kl=dict(preds_S=1)),
                dict(kl=dict(preds_S=dict(recorder='cls'))),
                dict(kl=dict(preds_S=dict(recorder=[], from_student=True))),
                dict(kl={}),
            )
        ),
        **INIT_ONLY,
    ),
    TeacherStudentDistill=ALGORITHM,
    TSTDistill=dict(
        **ALGORITHM,
        augmentation=Kind(('x', [1], dict(preset='x'), dict(type='x'))),
        objective=Kind(('x', [1], dict(alpha=-1), dict(type='x'))),
        policy=Kind((*NO_WORD, 'replay:', 'replay:nowhere.json')),
        min_visible=FRACTION,
        guard=Kind(('x', dict(x=1), dict(redraws=-1), dict(min_kept='1'))),
        seed=SEED,
    ),
    GapObjective=dict(
        alpha=WEIGHT,
        beta=WEIGHT,
        weights=Kind(('x', [1], dict(x=1), dict(T_cls=-1), dict(T_cls='1'))),
        box_scale=POSITIVE,
        mode=WORD,
        on_escape=WORD,
        right_score=FRACTION,
        teacher_roi_losses=FLAG,
        average=WORD,
    ),
    CIFARMobileNetV2=dict(width=POSITIVE, **BACKBONE),
    CIFARResNet=dict(
        depth=Kind((*COUNT.bad, 9)), width=Kind((*COUNT.bad, 2)), **PREACT
    ),
    CIFARShuffleNetV1=PREACT,
    CIFARShuffleNetV2=PREACT,
    CIFARVGG=dict(depth=Kind((*COUNT.bad, 9)), **PREACT),
    CIFARWideResNet=dict(depth=Kind((*COUNT.bad, 9)), width=COUNT, **PREACT),
    MobileNetV1=dict(width=POSITIVE, norm_eval=FLAG, **BACKBONE),
    HintConnector=dict(
        in_channel=COUNT,
        out_channel=COUNT,
        kernel_size=COUNT,
        stride=COUNT,
        padding=INDEX,
        dilation=COUNT,
        groups=Kind((*COUNT.bad, 3)),
        bias=Kind((0, 1, None, *OTHERS)),
        conv_cfg=CONV,
        norm_cfg=CONV,
        act_cfg=CONV,
        inplace=FLAG,
        with_spectral_norm=FLAG,
        padding_mode=WORD,
        order=Kind((1, 'x', None, [], [1], ['conv', 'x', 'act'])),
        **INIT_ONLY,
    ),
    LevelwiseConnector=dict(connector=INNER, num_levels=COUNT, **INIT_ONLY),
    PyramidConnector=dict(
        in_channels=COUNT, out_channels=COUNT, num_levels=COUNT, **INIT_ONLY
    ),
    ReviewKDConnector=dict(
        in_channels=Kind((1, '88', None, [], [8], [0, 8], ['8', 8], {})),
        out_channels=Kind((1, '88', None, [], [8], [0, 8], ['8', 8], {})),
        mid_channels=COUNT_OR_NONE,
        pooled=FLAG,
        out_sizes=Kind((1, 'x', [1], [0, 1], ['1', 1], {})),
        **INIT_ONLY,
    ),
    AttentionTransferLoss=dict(loss_weight=WEIGHT, num_levels=COUNT_OR_NONE),
    CRDLoss=dict(
        num_samples=Kind((1, *COUNT.bad)),
        channels=COUNT,
        num_negatives=COUNT,
        temperature=POSITIVE,
        momentum=MOMENTUM,
        negatives=WORD,
        loss_weight=WEIGHT,
    ),
    DKDLoss=dict(tau=POSITIVE, alpha=WEIGHT, beta=WEIGHT, loss_weight=WEIGHT),
    DenseKLLoss=dict(
        tau=POSITIVE,
        loss_weight=WEIGHT,
        form=WORD,
        num_classes=COUNT_OR_NONE,
        resize=FLAG,
    ),
    FGDLoss=dict(
        channels=Kind((1, *COUNT.bad)),
        num_levels=COUNT,
        tau=POSITIVE,
        alpha=WEIGHT,
        beta=WEIGHT,
        gamma=WEIGHT,
        lambda_=WEIGHT,
    ),
    LevelwiseLoss=dict(
        loss=Kind((*INNER.bad, dict(type='mmrazor.DISTLoss', gama=1))),
        form=WORD,
        num_levels=COUNT_OR_NONE,
        resize=FLAG,
    ),
    MimicLoss=dict(loss_weight=WEIGHT),
    ReviewKDLoss=dict(
        loss_weight=WEIGHT, num_levels=COUNT_OR_NONE, pooled=FLAG
    ),
    WarmupLoss=dict(
        loss=INNER,
        epochs=COUNT_OR_NONE,
        iters=Kind((*COUNT_OR_NONE.bad, 1)),  # both lengths
    ),
)
HOOK_TABLE = dict(
    CompileHook=dict(
        modules=Kind((1, 'student.backbone', None, [1], {})),
        options=Kind(('x', 1, [1], dict(modee='x'))),
    ),
    DataCheckHook=dict(images=Kind((-1, 1.5, *NO_NUMBER)), enabled=FLAG),
    DeferredRuntimeInfoHook={},
    ExactResumeHook=dict(enabled=FLAG),
    PolicySearchHook=dict(
        at=Kind((1, '1', None, [-1], [1.0], ['1'], [True], [1, 1], {}, [NAN])),
        by_epoch=FLAG,
        epochs=COUNT_OR_NONE,
        iterations=COUNT_OR_NONE,
        lr=POSITIVE_OR_NONE,
        momentum=MOMENTUM,
        clip_grad=POSITIVE_OR_NONE,
        search_temperature=POSITIVE_OR_NONE,
        budget=Kind((0, 1, -0.1, 'holdd', '', True, NAN, *OTHERS)),
        batch_size=COUNT_OR_NONE,
        report_batches=INDEX,
        max_nonfinite=COUNT,
        log_interval=COUNT,
        alrs=Kind(('x', 1, [1], {}, dict(threshold=1), dict(factor=1))),
        seed=SEED,
        probe=FLAG,
    ),
    # Numbers below 1 are mmengine's words for "never" and "all".
    SafeCheckpointHook=dict(
        interval=Kind(('1', None, 1.5, True, NAN, *OTHERS)),
        by_epoch=FLAG,
        save_optimizer=FLAG,
        save_param_scheduler=FLAG,
        out_dir=STRING_OR_NONE,
        max_keep_ckpts=Kind(('1', None, 1.5, True, NAN, *OTHERS)),
        save_last=FLAG,
        save_best=STRING_OR_NONE,
        rule=STRING_OR_NONE,
        greater_keys=Kind((1, [1], {'a': 1})),
        less_keys=Kind((1, [1], {'a': 1})),
        file_client_args=CONFIG_OR_NONE,
        filename_tmpl=STRING_OR_NONE,
        backend_args=CONFIG_OR_NONE,
        published_keys=STRING_OR_NONE,
        save_begin=Kind(('1', None, 1.5, True, NAN, *OTHERS)),
    ),
    TeacherCheckHook=dict(
        batches=INDEX,
        min_found=FRACTION,
        min_over_chance=Kind((0.9, None, *NO_NUMBER)),
        enabled=FLAG,
    ),
    ValidateOnResumeHook=dict(enabled=FLAG),
)
DATASET_TABLE = dict(
    CIFAR100=dict(
        data_root=Kind((1, None, 'nowhere', '', [1])),
        split=WORD,
        crop_padding=INDEX,
        flip=FRACTION,
        batched=FLAG,
        fraction=Kind((0, -0.1, 1.1, None, *NO_NUMBER)),
        fraction_seed=Kind((-1, 0.5, None, 2**64, *NO_NUMBER)),
        classes=Kind((0, -1, 99, 1.5, 'x', [], ['x'], [99], [0, 0], {}, True)),
        device=Kind((1, 'nonsense', '', *OTHERS)),
        # Read by nobody, as its page says: other data sets have one.
        pipeline=Kind((1, 'x', {})),
    ),
)
RECORDER = dict(type='ModuleOutputs', source='bbox_head.retina_cls')
DISTILLER = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(cls=RECORDER),
    teacher_recorders=dict(cls=RECORDER),
    distill_losses=dict(kl=dict(type='mmtst.DenseKLLoss')),
    loss_forward_mappings=dict(
        kl=dict(
            preds_S=dict(recorder='cls', from_student=True),
            preds_T=dict(recorder='cls', from_student=False),
        )
    ),
)
PAIR = dict(
    architecture=tiny_retinanet(4, 4),
    teacher=tiny_retinanet(4, 4),
    distiller=DISTILLER,
    untrained_teacher=True,
)
# What is needed, or keeps a build small.
VALID: dict[str, dict[str, Any]] = dict(
    model_from_config=tiny_retinanet(4, 4),
    DataAugmentationDistiller={
        key: value for key, value in DISTILLER.items() if key != 'type'
    },
    TeacherStudentDistill=PAIR,
    TSTDistill=PAIR,
    CIFARResNet=dict(depth=8),
    CIFARVGG=dict(depth=8),
    CIFARWideResNet=dict(depth=10, width=1),
    HintConnector=dict(in_channel=8, out_channel=8),
    LevelwiseConnector=dict(
        connector=dict(
            type='mmtst.PyramidConnector', in_channels=1, out_channels=1
        )
    ),
    PyramidConnector=dict(in_channels=1, out_channels=1),
    ReviewKDConnector=dict(in_channels=[8, 8], out_channels=[8, 8]),
    CRDLoss=dict(num_samples=4, num_negatives=2),
    LevelwiseLoss=dict(loss=dict(type='mmrazor.DISTLoss')),
    WarmupLoss=dict(loss=dict(type='mmtst.MimicLoss'), epochs=1),
    PolicySearchHook=dict(at=[0]),
)
REGISTRIES = (
    (MODELS, ROOT_MODELS, MODEL_TABLE),
    (HOOKS, ROOT_HOOKS, HOOK_TABLE),
    (DATASETS, ROOT_DATASETS, DATASET_TABLE),
)
CASES = [
    (root, name, options)
    for _, root, table in REGISTRIES
    for name, options in table.items()
]
NAMES = [name for _, name, _ in CASES]


@pytest.fixture(scope='module')
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = write_cifar100(tmp_path_factory.mktemp('data') / 'cifar', 2, 2)
    # Built once: most of what is tried is refused after they are.
    model = ROOT_MODELS.build(
        dict(type='mmtst.model_from_config', **tiny_retinanet(4, 4))
    )
    pair = PAIR | dict(architecture=model, teacher=model)
    return VALID | dict(
        CIFAR100=dict(data_root=str(root)),
        TeacherStudentDistill=pair,
        TSTDistill=pair,
    )


@pytest.mark.parametrize(
    ('registry', 'table'),
    [(registry, table) for registry, _, table in REGISTRIES],
    ids=lambda value: getattr(value, 'name', None),
)
def test_the_table_has_every_class_and_every_option(
    registry: Any, table: dict[str, dict[str, Kind]]
) -> None:
    registry.import_from_location()
    known = {
        name: set(options_of(module).named)
        for name, module in registry.module_dict.items()
        if module.__module__.startswith('mmtst.')
    }
    assert {name: set(options) for name, options in table.items()} == known


def words(value: Any) -> str:
    return repr(value).split(' at 0x')[0]


def try_build(root: Any, name: str, arguments: dict[str, Any]) -> str | None:
    """Say what became of a config, or nothing where it was refused well."""
    try:
        root.build(dict(type=f'mmtst.{name}', **copy.deepcopy(arguments)))
    except ConfigError as error:
        return None if 'where:' in str(error) else f'no place: {error}'
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'silence'


@pytest.mark.parametrize(('root', 'name', 'options'), CASES, ids=NAMES)
def test_what_is_wrong_is_refused_by_name(
    root: Any, name: str, options: dict[str, Kind], valid: dict[str, Any]
) -> None:
    """Built by mmengine's root, as a runner's or another package's does."""
    base = valid.get(name, {})
    outcomes = {
        f'{key}={words(bad)}': try_build(root, name, {**base, key: bad})
        for key, kind in options.items()
        for bad in kind.bad
    }
    faults = '\n'.join(f'{k}: {v}' for k, v in outcomes.items() if v)
    assert not faults, faults


@pytest.mark.parametrize(('root', 'name', 'options'), CASES, ids=NAMES)
def test_an_unknown_key_names_the_near_ones(
    root: Any, name: str, options: dict[str, Kind], valid: dict[str, Any]
) -> None:
    near = next(iter(options), None)
    arguments = valid.get(name, {}) | {f'{near}x': 1}
    with pytest.raises(ConfigError, match='has no option') as caught:
        root.build(dict(type=f'mmtst.{name}', **arguments))
    assert name in str(caught.value)
    if near is not None:
        assert f'did you mean {near}' in str(caught.value)


@pytest.mark.parametrize(('root', 'name', 'options'), CASES, ids=NAMES)
def test_what_is_right_is_built(
    root: Any, name: str, options: dict[str, Kind], valid: dict[str, Any]
) -> None:
    """Or the others would say nothing."""
    arguments = copy.deepcopy(valid.get(name, {}))
    assert root.build(dict(type=f'mmtst.{name}', **arguments)) is not None


@pytest.mark.parametrize('name', sorted(VALID))
def test_a_missing_option_is_named(name: str, valid: dict[str, Any]) -> None:
    module = next(
        found for r, _, _ in REGISTRIES if (found := r.module_dict.get(name))
    )
    for key, option in options_of(module).named.items():
        if option.needed:
            rest = {k: v for k, v in valid[name].items() if k != key}
            with pytest.raises(ConfigError, match=f'{name} needs {key}'):
                module(**rest)
