# For users.
# For the rooms that build on this one.
from .claims import ClaimSet as ClaimSet
from .claims import read_sets as read_sets
from .claims import wrongs as wrongs
from .config import BenchConfig as BenchConfig
from .report import Report as Report
from .report import ReportRow as ReportRow
from .report import read_report as read_report
from .report import write_report as write_report
from .run import run as run
from .suites import SUITES as SUITES
