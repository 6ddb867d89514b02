"""The exporter: a pure JAX function in, an ONNX model out, or CannotExport; never a guess."""

from tidemill.training.export.conversion import to_onnx
from tidemill.training.export.parity import difference
from tidemill.training.export.refusal import CannotExport
from tidemill.training.export.shapes import InputSpec, spec
from tidemill.training.export.weights import save

__all__ = ["CannotExport", "InputSpec", "difference", "save", "spec", "to_onnx"]
