"""Random tiny weights for the Wan worlds, in the files, names and wrappings of the published ones."""

import contextlib

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from worldjockey.model.worlds.wan import world as wan
from worldjockey.model.worlds.wan.config import CONFIGS, WanConfig
from worldjockey.model.worlds.wan.kernels import fit_flashdreams
from worldjockey.model.worlds.wan.world import CHECKPOINTS

PIECES = ["▁", "▁neon", "▁city", "▁in", "▁the", "▁ra", "in", ",", "s", "t", "o", "r", "m", "▁Ci", "ty", "▁sea"]


def network(config: WanConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """By the original Wan names; every part says something, where the network's own start is nearly silent."""
    fit_flashdreams("cpu")
    from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetwork, WanDiTNetworkConfig

    made = WanDiTNetwork(
        WanDiTNetworkConfig(
            dim=config.dim, ffn_dim=config.ffn, num_heads=config.heads, num_layers=config.layers,
            freq_dim=config.freq_dim, text_dim=config.text_dim, text_len=config.text, in_dim=config.channels,
            out_dim=config.channels,
        )
    )  # fmt: skip
    noise = torch.Generator().manual_seed(seed)
    weights = {}
    for name, tensor in made.state_dict().items():
        loud = 3.0 if "text_embedding" in name else 1.4 if ".q." in name or ".k." in name else 0.9
        scale = loud / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.2
        weights[name] = torch.randn(tensor.shape, generator=noise) * scale + ("norm" in name and name[-6:] == "weight")
    return weights


def _spread(made: torch.nn.Module) -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(1)
    return {
        k: torch.randn(v.shape, generator=noise) * 1.3 / max(v[0].numel(), 1) ** 0.5 + ("gamma" in k)
        for k, v in made.state_dict().items()
    }


def tiny_decoder(widths: tuple[int, int, int, int] = (16, 8, 8, 4)) -> dict[str, torch.Tensor]:
    fit_flashdreams("cpu")
    from flashdreams.recipes.taehv.impl import Decoder

    made = Decoder(widths, 16, 3, 1, (True, True), (True, True, True), torch.nn.ReLU())
    return {f"decoder.{k.removeprefix('blocks.')}": v for k, v in _spread(made).items()}


def full_decoder(width: int = 8) -> dict[str, torch.Tensor]:
    fit_flashdreams("cpu")
    from flashdreams.recipes.wan.autoencoder.vae import CausalConv3d, Decoder3d

    # As `_video_vae` of Wan 2.1 builds it: temperal_downsample=[False, True, True], reversed for the decoder.
    made = Decoder3d(dim=width, z_dim=16, temperal_upsample=(True, True, False))
    weights = {f"decoder.{k}": v for k, v in _spread(made).items()}
    return weights | {f"conv2.{k}": v for k, v in _spread(CausalConv3d(16, 16, 1)).items()}


def write_tokenizer(path):
    """Pieces of words as sentencepiece makes them."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((p, -float(i)) for i, p in enumerate(PIECES))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def umt5(width: int = 12, heads: int = 2, ffn: int = 16, layers: int = 2) -> dict[str, torch.Tensor]:
    """By the names of Wan's own `models_t5_umt5-xxl-enc-bf16.pth`."""
    noise = torch.Generator().manual_seed(0)

    def linear(rows, columns):
        return (torch.randn(rows, columns, generator=noise) * columns**-0.5).bfloat16()

    inner = 4 * heads
    weights = {
        "token_embedding.weight": linear(len(PIECES) + 3, width) * 3,
        "norm.weight": torch.ones(width).bfloat16(),
    }
    for i in range(layers):
        attention = {**dict.fromkeys("qkv", (inner, width)), "o": (width, inner)}
        weights |= {f"blocks.{i}.attn.{name}.weight": linear(*shape) for name, shape in attention.items()}
        weights |= {f"blocks.{i}.norm{n}.weight": torch.rand(width, generator=noise).bfloat16() + 0.5 for n in (1, 2)}
        weights[f"blocks.{i}.pos_embedding.embedding.weight"] = linear(32, heads) * 3
        weights[f"blocks.{i}.ffn.gate.0.weight"] = linear(ffn, width)
        weights[f"blocks.{i}.ffn.fc1.weight"] = linear(ffn, width)
        weights[f"blocks.{i}.ffn.fc2.weight"] = linear(width, ffn)
    return weights


def _put(root, where, tensors):
    path = root.joinpath(*where)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)


def write_family(root, config: WanConfig):
    """Every file of the family as the hub has it, small."""
    for seed, row in enumerate(CHECKPOINTS[name] for name in sorted(CHECKPOINTS)):
        wrapping = "generator" if row.lora else "generator_ema"
        _put(root, row.network, {wrapping: {f"model.{k}": v for k, v in network(config, seed).items()}})
        if row.lora:
            layer, noise = "blocks.1.ffn.0", torch.Generator().manual_seed(5)
            _put(root, row.lora, {"generator_lora": {
                f"base_model.model.{layer}.lora_A.weight": 0.2 * torch.randn(4, config.dim, generator=noise),
                f"base_model.model.{layer}.lora_B.weight": 0.2 * torch.randn(config.ffn, 4, generator=noise),
            }})  # fmt: skip
        _put(root, row.tiny, tiny_decoder())
        _put(root, row.full, full_decoder())
    _put(root, row.text, umt5(config.text_dim))
    write_tokenizer(root.joinpath(*row.tokenizer))


@contextlib.contextmanager
def small(root, config: WanConfig):
    """The family's names open what `write_family` wrote there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLDJOCKEY_WEIGHTS", str(root))
        patch.setattr(wan, "LARGE", ((4, 6), (4, 4), (6, 4)))
        patch.setattr(wan, "SMALL", ((2, 4), (2, 2), (4, 2)))
        for name in CONFIGS:
            patch.setitem(CONFIGS, name, config)
        yield


class CountingCompiler:
    """A backend of torch.compile that compiles nothing. graphs: number of graphs that it was given."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


class Graph:
    """As flashdreams' CUDAGraphWrapper: a graph once it was called often enough, which then reads and writes the very
    memory that it did when it was captured."""

    def __init__(self, fn, warmup_iters=2):
        self.fn, self.warmup, self.seen, self.where, self.replays = fn, warmup_iters, 0, None, 0

    def drain(self, *args, **kwargs):
        return self.fn(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        where = {k: v.data_ptr() for a in args if isinstance(a, dict) for k, v in a.items()}
        for block in getattr(kwargs.get("cache"), "block_caches", ()):
            for kept in (block.self_attn, block.cross_attn.text):
                where |= {(id(block), id(kept), i): t.data_ptr() for i, t in enumerate((kept._k, kept._v))}
        if self.seen > self.warmup:
            assert where == self.where, "the graph would read old memory"
            self.replays += 1
        elif self.seen == self.warmup:
            self.where = where
        self.seen += 1
        return self.fn(*args, **kwargs)

    def reset(self):
        self.seen, self.where = 0, None
