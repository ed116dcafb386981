"""ResNet-20 -> ResNet-8 on a tenth of the digits; a method adds its distiller.

The teacher has learned from all 1,297 images, the student gets 129 of them:
what the paper's Table 9 calls few-shot.
"""

_base_ = [
    '../models/digits.py',
    '../distillers/classification.py',
    '../schedules/digits_sgd.py',
]

train_dataloader = dict(dataset=dict(fraction=0.1))
train_cfg = dict(max_epochs=120, val_interval=20)
model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.resnet8}},
    teacher={{_base_.resnet20}},
    teacher_ckpt='demo_output_cls/teacher/epoch_20.pth',
)
