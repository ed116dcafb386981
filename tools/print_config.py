"""Print a config with its bases and references resolved."""

from __future__ import annotations

import argparse
from pathlib import Path

from _arguments import check_inputs_stay, output_file
from _common import add_config_arguments, read_config, resolve_models, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--resolve',
        action='store_true',
        help='put the model configs in place of cfg_path and cfg_options of '
        'student and teacher',
    )
    parser.add_argument(
        '--save-path',
        type=output_file('.py', '.json', '.yaml', '.yml'),
        help='.py file to write as well',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print, and save where asked to."""
    args = parse_args(argv)
    if args.save_path is not None:
        check_inputs_stay([args.save_path], [args.config])
    cfg = read_config(args)
    if args.resolve:
        resolve_models(cfg)
    print(cfg.pretty_text)
    if args.save_path is not None:
        Path(args.save_path).parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(args.save_path)


if __name__ == '__main__':
    run(main)
