# For users.
from .cases import PhantomCases as PhantomCases
from .cases import TextCases as TextCases
from .config import BenchConfig as BenchConfig
from .items import Item as Item
from .multiple_choice import answer_items as answer_items
from .report import Report as Report
from .report import ReportRow as ReportRow
from .report import read_report as read_report
from .report import write_report as write_report
from .result import SuiteResult as SuiteResult
from .run import run as run
from .suites import SUITES as SUITES
from .suites import Suite as Suite
