from __future__ import annotations

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor
from mmseg.models import SegDataPreProcessor

from mmtst.augmentation.image_space import ImageSpace
from mmtst.utils.errors import ConfigError

RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    'preprocessor',
    [
        ImgDataPreprocessor(**RGB, bgr_to_rgb=True),
        ImgDataPreprocessor(mean=[127.0], std=[60.0]),
        DetDataPreprocessor(**RGB, bgr_to_rgb=True),
        DetDataPreprocessor(**CAFFE, bgr_to_rgb=False),
        DetDataPreprocessor(bgr_to_rgb=False),
        SegDataPreProcessor(**RGB, bgr_to_rgb=True, size=(6, 5)),
        SegDataPreProcessor(**CAFFE, size=(6, 5)),
        ClsDataPreprocessor(**RGB, to_rgb=True),
        ClsDataPreprocessor(**CAFFE, to_rgb=False),
        ClsDataPreprocessor(to_rgb=True),
    ],
    ids=lambda p: type(p).__name__,
)
def test_reads_what_the_preprocessor_did(preprocessor, generator):
    """Feed a known BGR image through it and get its RGB back."""
    bgr = torch.randint(256, (3, 6, 5), generator=generator, dtype=torch.uint8)
    if isinstance(preprocessor, SegDataPreProcessor):
        from mmseg.structures import SegDataSample

        data = dict(inputs=[bgr], data_samples=[SegDataSample()])
        inputs = preprocessor(data, training=True)['inputs']
    else:
        inputs = preprocessor(dict(inputs=[bgr]))['inputs']
    space = ImageSpace.from_preprocessor(preprocessor)
    raw = space.to_raw(inputs.double())
    rgb = bgr.flip(0)[None].double() / 255
    torch.testing.assert_close(raw, rgb, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        space.to_network(rgb), inputs.double(), rtol=1e-5, atol=1e-4
    )
    step = 0.01 * torch.randn(rgb.shape, generator=generator).double()
    torch.testing.assert_close(
        space.to_network(rgb) + space.delta_to_network(step),
        space.to_network(rgb + step),
    )
    assert space.delta_to_network(torch.zeros(1, 3, 2, 2)).eq(0).all()


def test_channel_order_can_be_said():
    """Array data sets such as CIFAR come as RGB and are not flipped."""
    cifar = ClsDataPreprocessor(**RGB, to_rgb=False)
    assert ImageSpace.from_preprocessor(cifar).bgr
    assert not ImageSpace.from_preprocessor(cifar, 'rgb').bgr
    flipped = ClsDataPreprocessor(**RGB, to_rgb=True)
    assert ImageSpace.from_preprocessor(flipped, 'bgr').bgr


@pytest.mark.parametrize('bgr', [False, True])
def test_fill_is_the_mean_or_black(bgr):
    space = ImageSpace((10.0, 20.0, 30.0), (2.0, 4.0, 5.0), bgr)
    like = torch.zeros(1)
    mean = torch.tensor([30.0, 20, 10] if bgr else [10.0, 20, 30]) / 255
    torch.testing.assert_close(space.fill_raw('mean', like), mean)
    assert space.fill_network('mean', like) == 0
    assert space.fill_raw('black', like).eq(0).all()
    black = torch.tensor([-5.0, -5.0, -6.0])
    torch.testing.assert_close(space.fill_network('black', like), black)


def test_fill_is_mid_gray_where_there_is_no_mean():
    space, like = ImageSpace(), torch.zeros(1)
    assert space.fill_raw('mean', like).tolist() == [0.5, 0.5, 0.5]
    assert space.fill_network('mean', like).tolist() == [127.5] * 3
    assert space.fill_network('black', like).tolist() == [0, 0, 0]


def test_refuses_what_it_cannot_read():
    with pytest.raises(ConfigError, match='does not say how it normalizes'):
        ImageSpace.from_preprocessor(BaseDataPreprocessor())
    four = ImgDataPreprocessor(**RGB)
    four.mean = torch.zeros(4)
    with pytest.raises(ConfigError, match='three channels') as caught:
        ImageSpace.from_preprocessor(four)
    assert 'model.data_preprocessor.mean' in str(caught.value)
    flat = ImgDataPreprocessor(mean=[1, 2, 3], std=[1.0, 0.0, 1.0])
    with pytest.raises(ConfigError, match='over 0'):
        ImageSpace.from_preprocessor(flat)
    with pytest.raises(ConfigError, match='auto, rgb, bgr'):
        ImageSpace.from_preprocessor(ImgDataPreprocessor(), 'grb')


@pytest.mark.parametrize('bgr', [False, True])
def test_folded_kernels_do_the_same_to_network_input(bgr):
    generator = torch.Generator().manual_seed(0)
    space = ImageSpace((120.0, 110.0, 100.0), (60.0, 55.0, 50.0), bgr)
    kernels = torch.randn(1, 3, 4, 5, 5, generator=generator).double()
    images = torch.randn(1, 3, 9, 9, generator=generator).double()
    ones = torch.ones(1, 1, 9, 9).double()

    def convolve(inputs, weights):
        both = torch.cat([inputs, ones], dim=1)
        return torch.nn.functional.conv2d(both, weights[0], padding=2)

    raw = convolve(space.to_raw(images) - 0.5, kernels)
    torch.testing.assert_close(
        convolve(images, space.fold(kernels)), space.delta_to_network(raw)
    )
    assert not space.fold(torch.zeros_like(kernels)).any()
