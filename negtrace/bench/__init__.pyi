# For users.
# For the rooms that build on this one.
from .config import BenchConfig as BenchConfig
from .report import Report as Report
from .report import Row as Row
from .report import read_report as read_report
from .report import write_report as write_report
from .run import run as run
from .suites import SUITES as SUITES
