"""Check that every config loads, builds and carries the paper's numbers."""

import copy
import re
from functools import cache
from pathlib import Path

import mmdet
import mmseg
import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmtst.models.build import resolve_model_cfg
from mmtst.registry import HOOKS, MODELS

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
NAMES = [str(path) for path in CONFIGS]
METHODS = ('tst', 'kd', 'dist', 'cwd', 'pkd', 'mgd', 'fgd')
# What is asked of classifiers beyond the first tests stands in
# test_classifier_configs.py.
OF_CLASSIFIERS = ('dkd', 'fitnet', 'at', 'crd', 'reviewkd')
DISTILLED = [
    path
    for path in CONFIGS
    if path.parts[1] in METHODS and path.parts[2] != 'mmpretrain'
]
COCO = [path for path in DISTILLED if path.stem.endswith('_coco')]
CITYSCAPES = [path for path in DISTILLED if 'cityscapes' in path.stem]
TST = [path for path in COCO if path.parts[1] == 'tst']
# Baselines of models at full size.
LARGE = [p for p in COCO + CITYSCAPES if p.parts[1] != 'tst']
ALONE = {
    'detectors': ('retinanet', 'faster-rcnn', 'fcos'),
    'segmentors': ('pspnet', 'deeplabv3plus', 'segformer'),
    'classifiers': tuple(
        path.stem.split('_')[0]
        for path in CONFIGS
        if path.parts[1] == 'classifiers'
    ),
}


@cache
def read(path):
    return Config.fromfile(ROOT / path)


def load(path):
    """Return a copy of a config: reading one takes long."""
    cfg = copy.deepcopy(read(str(path)))
    init_default_scope(cfg.default_scope)
    return cfg


def test_there_are_configs():
    assert len(CONFIGS) >= 10


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_loads_and_builds(path):
    cfg = load(path)
    assert cfg.custom_imports.imports == ['mmtst']
    model = cfg.model
    if model.type in ('mmtst.TSTDistill', 'mmtst.TeacherStudentDistill'):
        # The checkpoint comes from a training, or from the model zoo.
        assert model.pop('teacher_ckpt')
        model.untrained_teacher = True
    if path in LARGE:
        # The models are TST's, and take long to build: tests below.
        model = dict(model.distiller, _scope_=model._scope_)
    assert MODELS.build(model) is not None
    for hook in cfg.get('custom_hooks', []):
        assert HOOKS.build(hook) is not None


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in CONFIGS
        if path.parts[1] in (*METHODS, *OF_CLASSIFIERS, *ALONE)
    ],
    ids=str,
)
def test_names_have_their_fields(path):
    fields = path.stem.split('_')
    method = path.parts[1]
    assert fields[0] in ALONE.get(method, (method,))
    setting, schedule = fields[-2].split('-')
    gpus, batch = setting.split('xb')
    cfg = load(path)
    assert int(gpus) >= 1
    assert cfg.train_dataloader.batch_size == int(batch)
    dataset, _, size = fields[-1].partition('-')
    assert dataset in str(cfg.train_dataloader.dataset.data_root)
    lengths = {'e': 'max_epochs', 'x': 'max_epochs', 'k': 'max_iters'}
    factors = {'e': 1, 'x': 12, 'k': 1000}
    unit = schedule[-1]
    length = int(schedule[:-1]) * factors[unit]
    assert cfg.train_cfg[lengths[unit]] == length
    if size:
        (crop,) = (
            step.crop_size
            for step in cfg.train_dataloader.dataset.pipeline
            if step.type == 'RandomCrop'
        )
        assert size == 'x'.join(map(str, crop))
    scale = cfg.auto_scale_lr.base_batch_size
    assert scale == int(gpus) * int(batch)


# By what a config's name says of its pair: numbers of the paper and, where it
# is silent, of the reference code's configs.
PAIRS = {
    'retina-x101_retina-r50': dict(
        lr=0.01,
        warm_up='LinearLR',
        clip=None,
        teacher='retinanet_x101-64x4d_fpn_1x_coco.py',
        weights='retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth',
        student='retinanet_r50_fpn_1x_coco.py',
    ),
    'cascade-mask-x101_faster-r50': dict(
        lr=0.02,
        warm_up='LinearLR',
        clip=None,
        teacher='cascade-mask-rcnn_x101-64x4d_fpn_20e_coco.py',
        weights='cascade_mask_rcnn_x101_64x4d_fpn_20e_coco_20200512_161033'
        '-bdb5126a.pth',
        student='faster-rcnn_r50_fpn_1x_coco.py',
    ),
    'fcos-r101_fcos-r50': dict(
        lr=0.01,
        warm_up='ConstantLR',
        clip=dict(max_norm=35, norm_type=2),
        teacher='fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        weights='fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco'
        '-511424d6.pth',
        student='fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    ),
}


def pair_of(path):
    return '_'.join(path.stem.split('_')[2:4])


SMALL = ('retina-r18-32_retina-r18-8', 'faster-r18-32_faster-r18-8')
SMALL += ('fcos-r18-32_fcos-r18-8',)
SHORT, LONG = '8xb2-80k_cityscapes-512x1024', '8xb1-160k_cityscapes-1024x1024'
# Of segmentors: where the name says the schedule, what teacher and student
# are, and how the losses of both heads or the one that both have are called.
SEGMENTORS = {
    f'pspnet-r101_pspnet-r18_{SHORT}': dict(
        teacher='pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        student='pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        heads=2,
    ),
    f'deeplabv3plus-r101_deeplabv3plus-r18_{SHORT}': dict(
        teacher='deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        student='deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        heads=2,
    ),
    f'segformer-b2_segformer-b0_{LONG}': dict(
        teacher='segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py',
        student='segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
        heads=1,
    ),
    f'segformer-b2_pspnet-r18_{SHORT}': dict(
        teacher='segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py',
        student='pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        heads=1,
    ),
}
CAMVID = 'pspnet-r18-32_pspnet-r18-8_1xb8-2k_camvid'
# Of each method, what is compared.
LOCATIONS = {
    **dict.fromkeys(('tst', 'kd', 'dist'), ('cls', 'cls-fpn')),
    **dict.fromkeys(('cwd', 'pkd', 'mgd', 'fgd'), ('fpn',)),
}


@pytest.mark.parametrize('method', METHODS)
def test_each_method_is_there_for_each_pair(method):
    names = {p.stem for p in DISTILLED if p.parts[1:3] == (method, 'mmdet')}
    assert names == {
        f'{method}_{where}_{pair}'
        for where in LOCATIONS[method]
        for pair in (
            *(f'{pair}_8xb2-2x_coco' for pair in PAIRS),
            *(f'{pair}_1xb4-24e_bccd' for pair in SMALL),
        )
    }


@pytest.mark.parametrize('method', ['tst', 'kd', 'dist', 'cwd'])
def test_each_method_on_logits_is_there_for_each_segmentor(method):
    names = {p.stem for p in DISTILLED if p.parts[1:3] == (method, 'mmseg')}
    pairs = (*SEGMENTORS, CAMVID)
    assert names == {f'{method}_logits_{pair}' for pair in pairs}


# What each method's losses are called in the log.
LOSSES = {
    ('tst', 'cls'): {'loss_kl'},
    ('kd', 'cls'): {'loss_kl'},
    ('dist', 'cls'): {'loss_dist'},
    ('cwd', 'fpn'): {'loss_cwd'},
    ('pkd', 'fpn'): {'loss_pkd'},
    ('mgd', 'fpn'): {'loss_mgd'},
    ('fgd', 'fpn'): {'loss_fgd'},
    ('tst', 'logits'): {'loss_kl', 'loss_kl_aux'},
    ('kd', 'logits'): {'loss_kl', 'loss_kl_aux'},
    ('dist', 'logits'): {'loss_dist', 'loss_dist_aux'},
    ('cwd', 'logits'): {'loss_cwd'},
}


@pytest.mark.parametrize('path', DISTILLED, ids=str)
def test_each_config_distils_what_its_name_says(path):
    method, where = path.stem.split('_')[:2]
    losses = set(load(path).model.distiller.distill_losses)
    expected = LOSSES[method, where.removesuffix('-fpn')]
    if where == 'cls-fpn':
        expected = expected | {'loss_mimic'}
    fields = '_'.join(path.stem.split('_')[2:])
    if SEGMENTORS.get(fields, {}).get('heads') == 1:
        expected = {name for name in expected if not name.endswith('_aux')}
    assert losses == expected


SCHEDULE = (
    'train_cfg',
    'param_scheduler',
    'optim_wrapper',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
    'auto_scale_lr',
    'randomness',
)


@pytest.mark.parametrize('path', DISTILLED, ids=str)
def test_all_methods_have_the_recipe_of_tst(path):
    """Pair, data and schedule are the same; the method alone differs."""
    cfg = load(path)
    fields = '_'.join(path.stem.split('_')[2:])
    where = {'mmdet': 'cls', 'mmseg': 'logits'}[path.parts[2]]
    reference = load(f'configs/tst/{path.parts[2]}/tst_{where}_{fields}.py')
    for name in SCHEDULE:
        assert cfg.get(name) == reference.get(name), name
    for name in ('architecture', 'teacher', 'teacher_ckpt'):
        assert cfg.model[name] == reference.model[name], name


def recorded(path):
    """Return what a config listens to, of which side."""
    distiller = load(path).model.distiller
    return {
        (side, recorder.source)
        for side in ('student_recorders', 'teacher_recorders')
        for recorder in distiller[side].values()
    }


@pytest.mark.parametrize('path', LARGE, ids=str)
def test_baselines_listen_to_what_tst_does(path):
    """So that their recorders fit the models, which are built for TST."""
    fields = '_'.join(path.stem.split('_')[2:])
    own = Path('configs', 'tst', path.parts[2])
    known = set()
    for tst in DISTILLED:
        if tst.parent == own and tst.stem.endswith(f'_{fields}'):
            known |= recorded(tst)
    assert recorded(path) <= known


@pytest.mark.parametrize(
    ('alone', 'pair'),
    [
        (
            f'detectors/{alone}_8xb2-2x_coco',
            f'mmdet/tst_cls_{pair}_8xb2-2x_coco',
        )
        for alone, pair in (
            ('retinanet_r50', 'retina-x101_retina-r50'),
            ('faster-rcnn_r50', 'cascade-mask-x101_faster-r50'),
            ('fcos_r50', 'fcos-r101_fcos-r50'),
        )
    ]
    + [
        (f'segmentors/{alone}', f'mmseg/tst_logits_{pair}')
        for alone, pair in (
            (f'pspnet_r18_{SHORT}', f'pspnet-r101_pspnet-r18_{SHORT}'),
            (f'pspnet_r18_{SHORT}', f'segformer-b2_pspnet-r18_{SHORT}'),
            (
                f'deeplabv3plus_r18_{SHORT}',
                f'deeplabv3plus-r101_deeplabv3plus-r18_{SHORT}',
            ),
            (f'segformer_b0_{LONG}', f'segformer-b2_segformer-b0_{LONG}'),
            ('pspnet_r18-8_1xb8-2k_camvid', CAMVID),
        )
    ],
)
def test_students_alone_have_the_recipe_too(alone, pair):
    cfg = load(f'configs/{alone}.py')
    pair = load(f'configs/tst/{pair}.py')
    for name in SCHEDULE:
        assert cfg.get(name) == pair.get(name), name
    model = dict(cfg.model)
    assert model.pop('type') == 'mmtst.model_from_config'
    assert model == pair.model.architecture


@pytest.mark.parametrize('path', TST, ids=str)
def test_the_papers_numbers_for_coco(path):
    cfg = load(path)
    pair = PAIRS[pair_of(path)]
    assert cfg.train_cfg.max_epochs == 24
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type='SGD', lr=pair['lr'], momentum=0.9, weight_decay=0.0001
    )
    assert cfg.optim_wrapper.get('clip_grad') == pair['clip']
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.end) == (pair['warm_up'], 500)
    assert steps.milestones == [16, 22] and steps.gamma == 0.1
    assert cfg.auto_scale_lr.base_batch_size == 16
    (search,) = cfg.custom_hooks
    assert search['at'] == [6, 12] and search.epochs == 1
    assert (search.lr, search.momentum, search.clip_grad) == (0.01, 0.9, 20.0)
    model = cfg.model
    assert model.augmentation.num_operators == 4
    assert model.augmentation.composition == 'matrix_sum'
    assert (model.objective.alpha, model.objective.beta) == (1.0, 1.0)
    loss = model.distiller.distill_losses.loss_kl
    assert (loss.tau, loss.loss_weight) == (1.0, 1.0)
    assert model.teacher.cfg_path.endswith(pair['teacher'])
    assert model.architecture.cfg_path.endswith(pair['student'])
    assert model.teacher_ckpt.endswith('/' + pair['weights'])


@pytest.mark.parametrize('path', CITYSCAPES, ids=str)
def test_segmentors_are_those_of_the_name(path):
    model = load(path).model
    pair = SEGMENTORS['_'.join(path.stem.split('_')[2:])]
    for part, name in (
        (model.teacher, pair['teacher']),
        (model.architecture, pair['student']),
    ):
        folder = name.split('_')[0]
        assert part.cfg_path == f'mmseg::{folder}/{name}'
    teacher = resolve_model_cfg(model.teacher, 'teacher')
    # It is loaded whole: nothing else is to be fetched.
    assert teacher.get('pretrained') is None
    assert teacher.backbone.get('init_cfg') is None


def search_of(cfg):
    """Return when a config searches, for how long, and how."""
    (hook,) = cfg.custom_hooks
    assert not hook.by_epoch
    keys = ('iterations', 'lr', 'momentum', 'clip_grad')
    return hook['at'], *(hook[key] for key in keys)


@pytest.mark.parametrize(
    'path',
    [p for p in CITYSCAPES if p.parts[1] == 'tst' and SHORT in p.stem],
    ids=str,
)
def test_the_papers_numbers_for_cityscapes(path):
    cfg = load(path)
    assert cfg.train_cfg.max_iters == 80000
    assert cfg.train_cfg.val_interval == 8000
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005
    )
    assert cfg.optim_wrapper.get('clip_grad') is None
    (decay,) = cfg.param_scheduler
    assert decay.to_dict() == dict(
        type='PolyLR',
        eta_min=1e-4,
        power=0.9,
        begin=0,
        end=80000,
        by_epoch=False,
    )
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert search_of(cfg) == ([7500, 15000], 1250, 0.01, 0.9, 20.0)
    model = cfg.model
    assert model.augmentation.num_operators == 4
    assert model.augmentation.composition == 'matrix_sum'
    assert (model.objective.alpha, model.objective.beta) == (1.0, 1.0)
    weights = {'loss_kl': 1.5, 'loss_kl_aux': 0.5}
    for name, loss in model.distiller.distill_losses.items():
        assert (loss.tau, loss.loss_weight) == (1.0, weights[name])


def test_segformers_are_trained_as_mmseg_does():
    (path,) = [
        p
        for p in CITYSCAPES
        if p.stem.startswith('tst_logits_segformer-b2_segformer-b0')
    ]
    cfg = load(path)
    file = Path(mmseg.__file__).parent / '.mim' / 'configs' / 'segformer'
    own = Config.fromfile(
        file / 'segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'
    )
    for name in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[name] == own[name], name
    batch, workers = 'batch_size', 'num_workers'
    for name in (batch, workers):
        assert cfg.train_dataloader[name] == own.train_dataloader[name]
    # After as many crops as in the paper, and as far.
    assert search_of(cfg) == ([15000, 30000], 1250, 0.01, 0.9, 20.0)


def test_maps_are_resized_where_strides_differ_and_nowhere_else():
    for path in CITYSCAPES:
        differ = 'segformer-b2_pspnet' in path.stem
        for loss in load(path).model.distiller.distill_losses.values():
            assert loss.get('resize', False) == differ


def test_small_segmentors_learn_from_scratch():
    cfg = load(f'configs/tst/mmseg/tst_logits_{CAMVID}.py')
    for role in ('architecture', 'teacher'):
        model = resolve_model_cfg(cfg.model[role], role)
        assert model.pretrained is None
        assert model.backbone.get('frozen_stages', -1) == -1
        assert not model.backbone.norm_eval
        for part in (model.backbone, model.decode_head, model.auxiliary_head):
            assert part.norm_cfg.type == 'BN'
        for head in (model.decode_head, model.auxiliary_head):
            assert head.num_classes == 11
    classes = cfg.train_dataloader.dataset.metainfo
    assert len(classes.classes) == len(classes.palette) == 11


@cache
def weights_of(package, folder):
    """Return what a package's metafile says of a folder's configs."""
    root = Path(package.__file__).parent / '.mim' / 'configs' / folder
    (file,) = root.glob('metafile.y*ml')
    return {
        Path(entry['Config']).name: entry.get('Weights')
        for entry in yaml.safe_load(file.read_text())['Models']
    }


@pytest.mark.parametrize('path', COCO + CITYSCAPES, ids=str)
def test_teachers_come_from_where_their_package_says(path):
    """The metafiles that mmdet and mmseg ship name their weights."""
    model = load(path).model
    package, _, file = model.teacher.cfg_path.partition('::')
    folder, name = file.split('/')
    weights = weights_of({'mmdet': mmdet, 'mmseg': mmseg}[package], folder)
    assert model.teacher_ckpt == weights[name]


def test_fcos_is_trained_as_in_the_paper():
    (path,) = [p for p in TST if p.stem.startswith('tst_cls_fcos')]
    cfg = load(path)
    student = resolve_model_cfg(cfg.model.architecture, 'student')
    teacher = resolve_model_cfg(cfg.model.teacher, 'teacher')
    head = student.bbox_head
    assert head.loss_bbox == dict(type='GIoULoss', loss_weight=1.0)
    assert head.norm_on_bbox and head.center_sampling
    assert 'norm_on_bbox' not in teacher.bbox_head
    for model in (student, teacher):
        preprocessor = model.data_preprocessor
        assert preprocessor.std == [1.0, 1.0, 1.0]
        assert not preprocessor.bgr_to_rgb
    resize = cfg.train_dataloader.dataset.pipeline[2]
    assert resize.scales == [(1333, 640), (1333, 800)]
    assert cfg.param_scheduler[0].factor == pytest.approx(1 / 3)


def test_centerness_is_added_to_either_distiller(tmp_path):
    for path in COCO:
        if not re.match('(tst|kd|dist)_.*fcos', path.stem):
            continue
        config = tmp_path / path.name
        config.write_text(
            f"_base_ = '{(ROOT / path).as_posix()}'\n"
            'model = dict(distiller={{_base_.centerness_kl}})\n'
        )
        distiller = Config.fromfile(config).model.distiller
        before = Config.fromfile(ROOT / path).model.distiller
        added = set(distiller.distill_losses) - set(before.distill_losses)
        assert added == {'loss_kl_centerness'}
        assert distiller.distill_losses.loss_kl_centerness.form == 'sigmoid'
        assert MODELS.build(distiller) is not None


def test_metafiles_name_what_there_is():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    named = []
    for file in index['Import']:
        meta = yaml.safe_load((ROOT / file).read_text())
        collections = {c['Name'] for c in meta['Collections']}
        for collection in meta['Collections']:
            assert (ROOT / collection['README']).is_file()
        for model in meta['Models']:
            assert model['In Collection'] in collections
            assert (ROOT / model['Config']).is_file()
            assert Path(model['Config']).stem == model['Name']
            named.append(model['Config'])
    methods = (*METHODS, *OF_CLASSIFIERS)
    distilled = [p for p in CONFIGS if p.parts[1] in methods]
    assert sorted(named) == sorted(map(str, distilled))
