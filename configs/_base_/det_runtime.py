"""Runtime of every detection config: mmdet's, with mmtst imported.

Exact resume and the looks at data and teacher are each off with one line, for
instance ``default_hooks = dict(exact_resume=dict(enabled=False))``.
"""

_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmtst'])
randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type='mmtst.SafeCheckpointHook'),
    exact_resume=dict(type='mmtst.ExactResumeHook'),
    validate_on_resume=dict(type='mmtst.ValidateOnResumeHook'),
    data_check=dict(type='mmtst.DataCheckHook'),
    teacher_check=dict(type='mmtst.TeacherCheckHook'),
)
