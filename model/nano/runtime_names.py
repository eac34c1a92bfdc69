"""The names that `--runtime` takes. Importing this loads nothing."""

REFERENCE, OPENVINO, CUDA_GRAPHS = "torch", "openvino", "cuda-graphs"
RUNTIMES = ("auto", REFERENCE, OPENVINO, CUDA_GRAPHS)
