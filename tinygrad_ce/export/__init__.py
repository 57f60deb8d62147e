"""Leave with your model: as a file of NumPy, as PyTorch's tensors, as ONNX; and come back with PyTorch's weights."""

from tinygrad_ce.export.numpy_text import numpy
from tinygrad_ce.export.onnx_file import onnx
from tinygrad_ce.export.torch_layers import from_torch, torch, torch_module

__all__ = ["from_torch", "numpy", "onnx", "torch", "torch_module"]
