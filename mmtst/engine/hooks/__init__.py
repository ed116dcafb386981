"""Act at given points of mmengine's training loops."""

from mmtst.engine.hooks.policy_search_hook import PolicySearchHook

__all__ = ['PolicySearchHook']
