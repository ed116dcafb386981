"""Say when it happens: policy searches between the steps of a training."""

from mmtst.engine.policy_log import (
    PolicyLog,
    cut_policy_log,
    read_policy_log,
)
from mmtst.engine.randomness import derive_seed, preserved_rng, seed_all
from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_report import (
    SearchReport,
    build_report,
    evaluate_policy,
)
from mmtst.engine.search_schedule import SearchSchedule
from mmtst.engine.search_types import (
    PARTS,
    SearchModel,
    SearchOptions,
    SearchSummary,
)

__all__ = [
    'PARTS',
    'PolicyLog',
    'PolicySearch',
    'SearchModel',
    'SearchOptions',
    'SearchReport',
    'SearchSchedule',
    'SearchSummary',
    'build_report',
    'cut_policy_log',
    'derive_seed',
    'evaluate_policy',
    'preserved_rng',
    'read_policy_log',
    'seed_all',
]
