"""TST as its reference code has it: ResNet-32x4 -> ShuffleNetV1, CIFAR-100."""

_base_ = [
    '../../_base_/pairs/cifar/resnet32x4_shufflenet-v1.py',
    '../../_base_/methods/tst_cifar_official.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(
    optimizer=dict(lr=0.02, weight_decay=0.0001, nesterov=True)
)
