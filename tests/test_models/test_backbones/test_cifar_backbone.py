"""Check what all networks for CIFAR have in common."""

import math

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARBackbone
from mmtst.models.backbones.cifar_backbone import check_depth, join_blocks
from mmtst.utils.errors import ConfigError

RESNET = [(16, 32), (32, 16), (64, 8), (64, 8)]
RESNET_X4 = [(64, 32), (128, 16), (256, 8), (256, 8)]
VGG = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4), (512, 4)]


def wide(width):
    return [(c * width, size) for c, size in RESNET]


def name(kind, **options):
    return dict(type=f'mmtst.CIFAR{kind}', **options)


# Config; parameters with a linear head of 100 classes; channels and size of
# each map. Counts are those of the public networks of CRD's tables, but for
# the ones that these tables do not have ("derived"):
# - ResNet: a block of c channels has 18c^2 + 4c, and six layers more are one
#   each of 16, 32 and 64, 97,216 in all: from ResNet-20 down and up.
# - VGG: a convolution c to d with its bias and norm has 9cd + 3d. VGG-11 is
#   VGG-13 without 64 to 64 and 128 to 128; VGG-16 has one 256 to 256 and two
#   512 to 512 more than VGG-13, VGG-19 the same three more than VGG-16.
# - WRN: see test_cifar_wide_resnet.py; the paper says 36.5M and 8.9M (with
#   ten classes).
NETWORKS = {
    'resnet8': (name('ResNet', depth=8), 83_892, RESNET),  # derived
    'resnet14': (name('ResNet', depth=14), 181_108, RESNET),  # derived
    'resnet20': (name('ResNet', depth=20), 278_324, RESNET),
    'resnet32': (name('ResNet', depth=32), 472_756, RESNET),
    'resnet44': (name('ResNet', depth=44), 667_188, RESNET),  # derived
    'resnet56': (name('ResNet', depth=56), 861_620, RESNET),
    'resnet110': (name('ResNet', depth=110), 1_736_564, RESNET),
    'resnet8x4': (name('ResNet', depth=8, width=4), 1_233_540, RESNET_X4),
    'resnet32x4': (name('ResNet', depth=32, width=4), 7_433_860, RESNET_X4),
    'wrn_16_2': (name('WideResNet', depth=16, width=2), 703_284, wide(2)),
    'wrn_28_10': (
        name('WideResNet', depth=28, width=10),
        36_536_884,  # derived
        wide(10),
    ),
    'wrn_40_1': (name('WideResNet', depth=40, width=1), 569_780, wide(1)),
    'wrn_40_2': (name('WideResNet', depth=40, width=2), 2_255_156, wide(2)),
    'wrn_40_4': (
        name('WideResNet', depth=40, width=4),
        8_972_340,  # derived
        wide(4),
    ),
    'vgg8': (name('VGG', depth=8), 3_965_028, VGG),
    'vgg11': (name('VGG', depth=11), 9_277_284, VGG),  # derived
    'vgg13': (name('VGG', depth=13), 9_462_180, VGG),
    'vgg16': (name('VGG', depth=16), 14_774_436, VGG),  # derived
    'vgg19': (name('VGG', depth=19), 20_086_692, VGG),  # derived
    'shufflenet_v1': (
        name('ShuffleNetV1'),
        949_258,
        [(240, 16), (480, 8), (960, 4), (960, 4)],
    ),
    'shufflenet_v2': (
        name('ShuffleNetV2'),
        1_355_528,
        [(116, 16), (232, 8), (464, 4), (1024, 4)],
    ),
    'mobilenet_v2': (
        name('MobileNetV2'),
        812_836,
        [(12, 16), (16, 8), (48, 4), (160, 2), (1280, 2)],
    ),
}
# One of each family, the smallest, to compute with.
SMALL = {
    'resnet': name('ResNet', depth=8),
    'wide_resnet': name('WideResNet', depth=10, width=1),
    'vgg': name('VGG', depth=8),
    'shufflenet_v1': name('ShuffleNetV1'),
    'shufflenet_v2': name('ShuffleNetV2'),
    'mobilenet_v2': name('MobileNetV2'),
}
WITH_PREACT = [family for family in SMALL if family != 'mobilenet_v2']


def build_classifier(backbone, channels):
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=100,
                in_channels=channels,
                loss=dict(type='CrossEntropyLoss'),
            ),
        )
    )


def build_small(family, **options):
    torch.manual_seed(0)
    every = tuple(range({'vgg': 6, 'mobilenet_v2': 5}.get(family, 4)))
    options.setdefault('out_indices', every)
    net = MODELS.build(dict(SMALL[family], **options))
    # As if trained: at the start some of these hide what they do.
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


@pytest.fixture(params=SMALL)
def family(request):
    return request.param


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('key', NETWORKS)
def test_size_and_shapes_are_the_papers(key, training):
    """On the meta device, where nothing is computed."""
    config, parameters, maps = NETWORKS[key]
    last = maps[-1][0]
    every = dict(config, out_indices=list(range(len(maps))))
    with torch.device('meta'):
        images = torch.zeros(2, 3, 32, 32)
        model = build_classifier(config, last)
        model.train(training)
        (output,) = model.backbone(images)
        scores = model(images)
        net = MODELS.build(every)
        net.train(training)
        outputs = net(images)
    assert isinstance(net, CIFARBackbone)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert output.shape == (2, last, maps[-1][1], maps[-1][1])
    assert model.backbone.out_channels == (last,)
    assert scores.shape == (2, 100)
    assert [tuple(o.shape) for o in outputs] == [(2, c, s, s) for c, s in maps]
    assert net.out_channels == tuple(channels for channels, _ in maps)


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_gradients_reach_every_parameter(family, training):
    """In evaluation none may vanish: running statistics stand for the batch's.

    In training a bias before a norm has none, but for rounding.
    """
    net = build_small(family)
    model = build_classifier(net, net.out_channels[-1])
    model.train(training)
    losses = model(
        torch.randn(4, 3, 32, 32),
        [DataSample().set_gt_label(label) for label in (0, 1, 2, 99)],
        mode='loss',
    )
    losses['loss'].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        if not training:
            assert parameter.grad.abs().max() > 0, key


def place_of(family, index, preact):
    """Name the module whose output a map is, as the docstrings do."""
    count = 5 if family == 'vgg' else 4 if family == 'mobilenet_v2' else 3
    if index == count:
        return 'activations.2' if family == 'wide_resnet' else 'last'
    if family == 'wide_resnet':
        return f'{"norms" if preact else "stages"}.{index}'
    return f'{"stages" if preact else "activations"}.{index}'


@pytest.mark.parametrize(
    ('family', 'preact'),
    [(family, False) for family in SMALL]
    + [(family, True) for family in WITH_PREACT],
)
def test_maps_are_outputs_of_modules_and_stay_as_they_were(family, preact):
    options = dict(preact=True) if preact else {}
    net = build_small(family, **options)
    net.train()
    seen = {}
    for key, module in net.named_modules():
        module.register_forward_hook(
            lambda _, __, output, key=key: seen.update(
                {key: output.clone() if torch.is_tensor(output) else None}
            )
        )
    images = torch.randn(2, 3, 32, 32)
    before = images.clone()
    outputs = net(images)
    assert torch.equal(images, before)
    for index, output in enumerate(outputs):
        assert torch.equal(output, seen[place_of(family, index, preact)])
    assert outputs[-1].min() == 0  # Activated, for the head.
    if preact:
        assert all(output.min() < 0 for output in outputs[:-1])


@pytest.mark.parametrize(
    'family', ['resnet', 'vgg', 'shufflenet_v1', 'shufflenet_v2']
)
def test_preact_is_what_the_activation_reads(family):
    images = torch.randn(2, 3, 32, 32)
    after, before = (
        evaluate(build_small(family, preact=preact), images)
        for preact in (False, True)
    )
    for a, b in zip(after[:-1], before[:-1], strict=True):
        assert torch.equal(a, b.relu())
    assert torch.equal(after[-1], before[-1])


def test_statistics_move_once_in_a_step(family):
    net = build_small(family)
    net.train()
    net(torch.randn(2, 3, 32, 32))
    steps = [
        int(module.num_batches_tracked)
        for module in net.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    assert steps
    assert set(steps) == {1}


def test_weights_start_as_the_tables_networks_do(family):
    """Of the tables' networks only the ShuffleNets keep torch's own draw."""
    torch.manual_seed(0)
    net = MODELS.build(SMALL[family])
    model = build_classifier(net, net.out_channels[-1])
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7)
    model.init_weights()
    for key, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), key
            assert (module.bias == 0).all(), key
        elif isinstance(module, nn.Conv2d):
            check_draw(module, uniform=family.startswith('shufflenet'))


def check_draw(conv, uniform):
    """Compare with kaiming_normal_ by fan-out, or torch's uniform draw."""
    weight = conv.weight.detach()
    size = weight[0, 0].numel()
    if uniform:
        bound = 1 / math.sqrt(size * weight.shape[1])
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.9 * bound
        deviation = bound / math.sqrt(3)
    else:
        deviation = math.sqrt(2 / (size * weight.shape[0]))
    # The spread of a sample's deviation is at most 1 / sqrt(2n) of it.
    slack = 5 / math.sqrt(2 * weight.numel())
    assert float(weight.std()) == pytest.approx(deviation, rel=slack)
    assert conv.bias is None or (conv.bias == 0).all()


def test_another_init_cfg_takes_the_place_of_the_default():
    init = dict(type='Constant', layer='Conv2d', val=2)
    net = MODELS.build(dict(SMALL['resnet'], init_cfg=init))
    net.init_weights()
    assert all(
        (module.weight == 2).all()
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    )


def test_norms_are_of_the_kind_asked_for(family):
    norm = dict(type='BN', momentum=0.25)
    net = MODELS.build(dict(SMALL[family], norm_cfg=norm))
    momenta = {
        module.momentum
        for module in net.modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert momenta == {0.25}


@pytest.mark.parametrize(
    'indices', [(), (4,), (-1,), (1, 0), (0, 0), (0.0,), (True,), 3, 'ab']
)
def test_indices_out_of_range_or_order_are_refused(indices):
    with pytest.raises(ConfigError, match='model.backbone.out_indices') as e:
        MODELS.build(dict(SMALL['resnet'], out_indices=indices))
    whole = isinstance(indices, tuple) and all(
        type(each) is int for each in indices
    )
    allowed = 'at least one of 0, 1, 2, 3, in this order'
    assert (allowed if whole else 'an integer each') in str(e.value)


@pytest.mark.parametrize('family', WITH_PREACT)
def test_preact_is_a_flag(family):
    with pytest.raises(ConfigError, match='model.backbone.preact'):
        MODELS.build(dict(SMALL[family], preact='yes'))


def test_depths_of_three_stages():
    for depth in (8, 20, 110):
        check_depth(depth, offset=2)
    check_depth(16, offset=4)
    for depth in (2, -4, 9, 18, 8.0, '8', True, None):
        with pytest.raises(ConfigError, match=r'model\.backbone\.depth') as e:
            check_depth(depth, offset=2)
        assert '6n + 2: 8, 14, 20, 26' in str(e.value)


def test_blocks_are_joined_by_relus():
    chain = join_blocks([nn.Identity(), nn.Identity(), nn.Identity()])
    kinds = [type(module).__name__ for module in chain]
    assert kinds == ['Identity', 'ReLU', 'Identity', 'ReLU', 'Identity']


def evaluate(net, images):
    net.eval()
    with torch.no_grad():
        return net(images)
