"""Act at given points of mmengine's training loops."""

from mmtst.engine.hooks.compile_hook import CompileHook
from mmtst.engine.hooks.data_check_hook import DataCheckHook
from mmtst.engine.hooks.deferred_runtime_info_hook import (
    DeferredRuntimeInfoHook,
)
from mmtst.engine.hooks.exact_resume_hook import ExactResumeHook
from mmtst.engine.hooks.policy_search_hook import PolicySearchHook
from mmtst.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from mmtst.engine.hooks.teacher_check_hook import TeacherCheckHook
from mmtst.engine.hooks.validate_on_resume_hook import ValidateOnResumeHook

__all__ = [
    'CompileHook',
    'DataCheckHook',
    'DeferredRuntimeInfoHook',
    'ExactResumeHook',
    'PolicySearchHook',
    'SafeCheckpointHook',
    'TeacherCheckHook',
    'ValidateOnResumeHook',
]
