"""Runtime of every detection config: mmdet's, with mmtst imported."""

_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmtst'])
randomness = dict(seed=0)
