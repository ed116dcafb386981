"""Build the networks with which papers distil on CIFAR and ImageNet."""

from .cifar_backbone import CIFARBackbone
from .cifar_mobilenet_v2 import CIFARMobileNetV2
from .cifar_resnet import CIFARResNet
from .cifar_shufflenet import CIFARShuffleNetV1, CIFARShuffleNetV2
from .cifar_vgg import CIFARVGG
from .cifar_wide_resnet import CIFARWideResNet
from .mobilenet_v1 import MobileNetV1

__all__ = [
    'CIFARBackbone',
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARVGG',
    'CIFARWideResNet',
    'MobileNetV1',
]
