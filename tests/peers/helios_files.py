"""A Helios pipeline of tiny random networks."""

import diffusers
import torch
import transformers

WORDS = ("a", "neon", "city", "in", "the", "rain", "storm", "at", "night", "forest", "sea", "don't", "dance")


def tokenizer():
    """Words and their pieces, as SentencePiece has them: a capital or a rare word falls into letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{w}" for w in WORDS), *"abcdefghijklmnopqrstuvwxyz'"]
    inner = Tokenizer(models.Unigram([(p, -1.0 if len(p) > 1 else -5.0) for p in pieces], unk_id=2))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def tiny(**scheduler):
    """gamma: the checkpoint's 1/3 is beyond diffusers' own arithmetic on a CPU."""
    torch.manual_seed(0)
    text = transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=64, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=1
        )
    )
    vae = diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        scale_factor_spatial=4,
    )
    network = diffusers.HeliosTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2, rope_dim=(4, 4, 4),
    )  # fmt: skip
    pipe = diffusers.HeliosPyramidPipeline(
        tokenizer=tokenizer(), text_encoder=text.eval(), vae=vae.eval(), transformer=network.eval(),
        scheduler=diffusers.HeliosDMDScheduler(**{"gamma": 0.3, **scheduler}), is_distilled=True,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe
