"""The feature program: what turns the columns of a table into a model's numbers, fitted once, replayed everywhere."""

from tidemill.core.features.fitting import fit
from tidemill.core.features.kinds import Category, Moment, Number
from tidemill.core.features.program import Columns, Program

__all__ = ["Category", "Columns", "Moment", "Number", "Program", "fit"]
