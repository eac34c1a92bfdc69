"""The choices of nano's options. Importing this loads nothing."""

REFERENCE, OPENVINO, CUDA_GRAPHS = "torch", "openvino", "cuda-graphs"
RUNTIMES = ("auto", REFERENCE, OPENVINO, CUDA_GRAPHS)
SMALL, LARGE = "small", "large"  # 512x288 and 1024x576, or what comes nearest to the show's shape
SIZES = ("auto", SMALL, LARGE)
