"""Freeze the outputs of the program on small jobs, and compare two such folders.

python benchmarks/golden freeze before
python benchmarks/golden compare before after

`freeze` runs the `negtrace` that comes first in PYTHONPATH, so that two versions can be compared.
The public files that some jobs read are in the folder NEGTRACE_DATA.
"""

import argparse
import sys
from pathlib import Path

import jobs_data
import jobs_models
import jobs_trace
from compare import compare
from freeze import freeze, run_job

JOBS = {job.__name__: job for module in (jobs_data, jobs_trace, jobs_models) for job in module.JOBS}


def main() -> int:
    """Parse the command line, run the command, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/golden", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    freezing = commands.add_parser("freeze", help="run the jobs and store their outputs")
    freezing.add_argument("folder", type=Path, help="folder for the outputs")
    comparing = commands.add_parser("compare", help="compare two folders of outputs")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--quiet", action="store_true", help="print only what differs")
    for command in (freezing, comparing):
        command.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    single = commands.add_parser("job", help="run one job in this process; `freeze` calls it")
    single.add_argument("folder", type=Path)
    single.add_argument("name", choices=list(JOBS))
    options = parser.parse_args()
    if options.command == "freeze":
        return freeze(options.folder, options.jobs)
    if options.command == "compare":
        return compare(options.first, options.second, options.jobs, quiet=options.quiet)
    return run_job(JOBS[options.name], options.folder)


if __name__ == "__main__":
    sys.exit(main())
