"""Runtime of every segmentation config: mmseg's, with mmtst imported.

Counted in iterations, as mmseg's schedules are. Exact resume and the looks at
data and teacher are each off with one line, for instance
``default_hooks = dict(exact_resume=dict(enabled=False))``.
"""

_base_ = 'mmseg::_base_/default_runtime.py'

custom_imports = dict(imports=['mmtst'])
randomness = dict(seed=0)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='mmtst.SafeCheckpointHook', by_epoch=False),
    visualization=dict(type='SegVisualizationHook'),
    exact_resume=dict(type='mmtst.ExactResumeHook'),
    validate_on_resume=dict(type='mmtst.ValidateOnResumeHook'),
    data_check=dict(type='mmtst.DataCheckHook'),
    teacher_check=dict(type='mmtst.TeacherCheckHook'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
