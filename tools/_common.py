"""Share what the tools have in common: arguments, configs, checkpoints."""

from __future__ import annotations

import argparse
import copy
import os
from pathlib import Path
from typing import Any

# First: it prepares the imports of the packages below.
import mmtst  # noqa: F401  isort: skip
import torch
from _arguments import Options, existing_folder, output_folder
from _config_checks import check_model
from mmengine.config import Config, ConfigDict
from mmengine.utils import import_modules_from_strings

from mmtst.datasets import set_data_root
from mmtst.models.build import resolve_model_cfg
from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.compat import join_cpu_processes
from mmtst.utils.errors import ConfigError, run_tool
from mmtst.utils.safe_loading import install_safe_loading
from mmtst.utils.safe_reading import trust_checkpoints

_OF_IMPORTS = {'imports', 'allow_failed_imports'}
STUDENT_PREFIX = 'architecture.'
_CFG_OPTIONS_HELP = (
    'settings that replace those of the config, as key=value; lists as '
    'key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]", without '
    'white space'
)


run = run_tool


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every tool takes that reads a config."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, help=_CFG_OPTIONS_HELP
    )
    parser.add_argument(
        '--data-root',
        type=existing_folder,
        help='folder of the data, in place of every data_root of the config',
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add what every tool takes that reads checkpoints."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints as pickles, which can run any code with your '
        'rights; only for files whose source you trust',
    )


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every tool takes that builds a runner."""
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='folder for logs and results; by default the one of the config, '
        'or work_dirs/NAME_OF_CONFIG',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started',
    )
    # torchrun and the older torch.distributed.launch spell it differently.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def read_config(args: argparse.Namespace) -> Config:
    """Read the config and put in what the command line says.

    Args:
        args: From a parser with the arguments of
            :func:`add_config_arguments` and, maybe, those of
            :func:`add_launch_arguments` and :func:`add_trust_argument`.

    Raises:
        ConfigError: There is no such file, or it cannot be read.
    """
    # Before anything is read; mmengine's own resume and load_from included.
    install_safe_loading()
    trust_checkpoints(getattr(args, 'trust_checkpoint', False))
    path = args.config
    if not os.path.isfile(path):
        raise ConfigError(
            'the config file is not there',
            where='config',
            got=path,
            fix='give the path of a .py file, such as those under configs/',
        )
    try:
        _check_bases(os.path.abspath(path))
        cfg = Config.fromfile(path, import_custom_modules=False)
    except ConfigError:
        raise
    # Configs are programs: they may end, too.
    except (Exception, SystemExit) as error:
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise ConfigError(
            f'the config cannot be read: {reason[:500]}',
            where='config',
            got=path,
        ) from error
    if args.cfg_options is not None:
        _merge(cfg, args.cfg_options)
    # Not before: the command line may name others.
    if cfg.get('custom_imports'):
        _import_modules(cfg.custom_imports)
    if args.data_root is not None:
        set_data_root(cfg, args.data_root)
    if hasattr(args, 'launcher'):
        _put_launch_arguments(cfg, args)
    return cfg


def _check_bases(path: str, above: tuple[str, ...] = ()) -> None:
    """Refuse a config that is its own base: mmengine would read on and on."""
    if path in above:
        raise ConfigError(
            'the config is its own base',
            where='_base_',
            got=' -> '.join([*above[above.index(path) :], path]),
            fix='take one of them out of its _base_',
        )
    for base in Config._get_base_files(path):
        found, _ = Config._get_cfg_path(base, path)
        if os.path.isfile(found):
            _check_bases(os.path.abspath(found), (*above, path))


def _merge(cfg: Config, options: dict[str, Any]) -> None:
    """Put settings over a config one by one, to name what does not fit."""
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except Exception as error:
            raise ConfigError(
                f'the config has no place for this setting: {error}',
                where=f'--cfg-options {key}',
                got=value,
                fix='compare it with what tools/print_config.py prints',
            ) from error


def _import_modules(named: Any) -> None:
    if not isinstance(named, dict) or set(named) - _OF_IMPORTS:
        raise ConfigError(
            'this names no modules',
            where='custom_imports',
            got=named,
            allowed="dict(imports=['NAME', ...], allow_failed_imports=False)",
        )
    try:
        import_modules_from_strings(**named)
    except TypeError as error:
        raise ConfigError(
            'this names no modules',
            where='custom_imports.imports',
            got=named.get('imports'),
            allowed='a list of names',
        ) from error
    except ImportError as error:
        raise ConfigError(
            f'a module cannot be imported: {error}',
            where='custom_imports',
            got=named.get('imports'),
            fix='correct the name, or put its folder on PYTHONPATH',
        ) from error


def check_file(path: str | None, where: str) -> None:
    """Look for a checkpoint that is named by a local path.

    Raises:
        ConfigError: There is no such file.
    """
    if path is not None and not isinstance(path, str):
        raise ConfigError(
            'a checkpoint is named by its path or URL', where=where, got=path
        )
    if path is None or '://' in path or os.path.isfile(path):
        return
    raise ConfigError(
        'the checkpoint is not there',
        where=where,
        got=path,
        fix='give the path of a .pth file, or a URL',
    )


def is_distillation(cfg: Config) -> bool:
    """Say whether the model of a config has a student and a teacher.

    Raises:
        ConfigError: The config has no model.
    """
    check_model(cfg)
    return 'architecture' in cfg.model


def student_model_cfg(cfg: Config) -> ConfigDict:
    """Return the plain model config of the student.

    Of a config without a teacher, that is its model.
    """
    if not is_distillation(cfg):
        return copy.deepcopy(cfg.model)
    model = _resolve(cfg, 'architecture')
    # What the algorithm itself is given is what it uses, and mmengine's runner
    # gives it the one at the top where it has none.
    for given in (cfg.model, cfg):
        if given.get('data_preprocessor') is not None:
            model.data_preprocessor = copy.deepcopy(given.data_preprocessor)
            break
    return model


def teacher_model_cfg(cfg: Config) -> ConfigDict:
    """Return the plain model config of the teacher.

    Raises:
        ConfigError: The config has no teacher.
    """
    check_model(cfg)
    if 'teacher' not in cfg.model:
        raise ConfigError(
            'this config has no teacher',
            where='model.teacher',
            fix='give a distillation config, or leave out --teacher',
        )
    return _resolve(cfg, 'teacher')


def resolve_models(cfg: Config) -> None:
    """Put the model configs in the place of references to them.

    Args:
        cfg: Changed in place, if it has a student and a teacher.
    """
    if 'model' in cfg and is_distillation(cfg):
        cfg.model.architecture = student_model_cfg(cfg)
        cfg.model.teacher = teacher_model_cfg(cfg)


def teacher_checkpoint(cfg: Config) -> tuple[str | None, str]:
    """Return the file of the teacher's weights, and where it stands."""
    teacher = cfg.model.get('teacher')
    if isinstance(teacher, dict) and teacher.get('checkpoint'):
        return teacher['checkpoint'], 'model.teacher.checkpoint'
    return cfg.model.get('teacher_ckpt'), 'model.teacher_ckpt'


def read_weights(
    path: str, where: str, *, student: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read weights from a checkpoint.

    All the tools' reading of checkpoints passes here.

    Args:
        path: File or URL.
        where: The option that named it, for error messages.
        student: Whether to take the student alone out of a distillation's
            checkpoint.

    Returns:
        The state dict and the file's ``meta``.
    """
    check_file(path, where)
    content = read_checkpoint(path, where=where)
    weights = content['state_dict']
    meta = content.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    inner = {
        key.removeprefix(STUDENT_PREFIX): value
        for key, value in weights.items()
        if key.startswith(STUDENT_PREFIX)
    }
    return inner if student and inner else weights, meta


def without_distillation(cfg: Config, model: ConfigDict) -> Config:
    """Return the config of a plain model, with the data and the rest kept.

    Args:
        cfg: Any config; not changed.
        model: What its ``model`` becomes.

    Returns:
        A copy without the hooks that need a teacher or a policy.
    """
    plain = copy.deepcopy(cfg)
    plain.model = model
    hooks = plain.get('custom_hooks') or []
    plain.custom_hooks = [hook for hook in hooks if not _is_ours(hook)]
    defaults = plain.get('default_hooks') or {}
    for name in [name for name in defaults if _is_ours(defaults[name])]:
        # mmengine fills in its own.
        del defaults[name]
    return plain


def _resolve(cfg: Config, role: str) -> ConfigDict:
    """Return the model config that student or teacher refer to."""
    reference = cfg.model[role]
    if not isinstance(reference, dict):
        raise ConfigError(
            'this is no model',
            where=f'model.{role}',
            got=reference,
            allowed='a model config, or dict(cfg_path=..., cfg_options=...)',
        )
    if 'cfg_path' in reference:
        # Under mmrazor's own algorithms a builder's name and the checkpoint
        # stand beside it.
        keys = ('cfg_path', 'cfg_options')
        reference = {k: reference[k] for k in keys if k in reference}
    return resolve_model_cfg(reference, f'model.{role}')


def _is_ours(cfg: Any) -> bool:
    kind = cfg.get('type', '') if isinstance(cfg, dict) else ''
    return str(kind).startswith(('mmtst.', 'mmrazor.'))


def _put_launch_arguments(cfg: Config, args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ConfigError(
            'the launcher has started no processes',
            where='--launcher',
            got=args.launcher,
            fix='start with tools/dist_train.sh CONFIG PROCESSES, or torchrun '
            '--nproc_per_node PROCESSES tools/train.py CONFIG --launcher '
            'pytorch',
        )
    if args.launcher == 'pytorch':
        join_cpu_processes(cfg)
    elif args.launcher != 'none' and not torch.cuda.is_available():
        raise ConfigError(
            'this launcher needs GPUs',
            where='--launcher',
            got=args.launcher,
            allowed='pytorch or none on a machine without',
        )
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
