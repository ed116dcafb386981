"""SegFormer-B2 -> PSPNet-R18 on Cityscapes: a transformer teaches a CNN.

The student is trained as in the paper's pair. Its class scores lie at 1/8 of
the image, the teacher's at 1/4: those are resized. The teacher has no
auxiliary head: the ``*_decode`` distillers are theirs.
"""

_base_ = [
    './segformer_b2.py',
    '../schedules/cityscapes_80k.py',
    '../distillers/segmentation.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    ),
)

# Merged into the distillers.
kd_decode_distiller = dict(distill_losses=dict(loss_kl=dict(resize=True)))
dist_decode_distiller = dict(distill_losses=dict(loss_dist=dict(resize=True)))
cwd_distiller = dict(distill_losses=dict(loss_cwd=dict(resize=True)))
