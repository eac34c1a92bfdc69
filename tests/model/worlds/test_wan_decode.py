"""Frames leave latent by latent, and are those that decoding everything at once would have given."""

import pytest
import torch
import wan_files
from worldjockey.model.worlds.wan.decode import FullDecoder, TinyDecoder

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ROWS, COLUMNS = 2, 4


DECODERS = {
    "tiny": lambda **how: TinyDecoder(wan_files.tiny_decoder(), ROWS, COLUMNS, CPU, **how),
    "full": lambda **how: FullDecoder(wan_files.full_decoder(), CPU, **how),
}
LATENTS = torch.randn(7, 16, ROWS, COLUMNS, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=DECODERS)
def make(request):
    return DECODERS[request.param]


def at_once(decoder, latents):
    """All latent frames in one call of the network itself."""
    z = latents * decoder.std + decoder.mean
    if isinstance(decoder, TinyDecoder):
        state = {}
        decoder.net.initialize_state((1, len(z), 16, ROWS, COLUMNS), torch.float32, CPU, state)
        frames = decoder.net(z[None], state, 1)[0, 3:]
    else:
        frames = decoder.net(decoder.enter(z.transpose(0, 1)[None]), {}, first_chunk=True)[0].transpose(0, 1)
        frames = frames / 2 + 0.5
    return (frames.clamp(0, 1) * 255).permute(0, 2, 3, 1)


@torch.no_grad()
def test_a_stream_of_single_latents_gives_the_frames_of_the_whole(make):
    decoder = make()
    parts = [decoder(z) for z in LATENTS]
    assert [len(p) for p in parts] == [1, 4, 4, 4, 4, 4, 4]
    assert parts[0].shape == (1, 8 * ROWS, 8 * COLUMNS, 3)
    assert parts[0].dtype == torch.uint8
    whole = at_once(decoder, LATENTS)
    assert whole.std() > 10, "a frame, not a wall"
    assert (torch.cat(parts).float() - whole).abs().max() < 0.6  # half a grey level is rounding
    alone = make()
    alone(LATENTS[0])
    assert (alone(LATENTS[2]).float() - whole[9:13]).abs().max() > 1, "what came before counts"


def test_reset_begins_a_new_stream(make):
    decoder = make()
    first = [decoder(z) for z in LATENTS[:3]]
    decoder.reset()
    for a, b in zip(first, (decoder(z) for z in LATENTS[:3]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_snapshot_goes_on_with_the_very_same_frames_in_any_decoder_of_these_weights(make, after):
    decoder, other = make(), make()
    for z in LATENTS[:after]:
        decoder(z)
    state = decoder.snapshot()
    want = [decoder(z) for z in LATENTS[3:6]]
    for d in (decoder, other):
        d.restore(state)
        for a, z in zip(want, LATENTS[3:6], strict=True):
            assert torch.equal(d(z), a)


def test_a_graph_sees_the_same_memory_through_resets_and_looks_that_come_back(make, monkeypatch):
    monkeypatch.setattr("flashdreams.infra.cuda_graph.CUDAGraphWrapper", wan_files.Graph)
    plain, graphed = make(), make(compiler="eager")
    for z in LATENTS:
        assert torch.equal(graphed(z), plain(z))
    assert graphed.graph.replays > 1
    state = graphed.snapshot()
    want = graphed(LATENTS[0])
    graphed.restore(state)
    assert torch.equal(graphed(LATENTS[0]), want)
    graphed.reset()
    plain.reset()
    for z in LATENTS:
        assert torch.equal(graphed(z), plain(z))


def test_weights_of_something_else_are_refused():
    with pytest.raises(ValueError, match="not the decoder's weights"):
        TinyDecoder({"encoder.0.weight": torch.zeros(1)}, ROWS, COLUMNS, CPU)
    with pytest.raises(ValueError, match="not the decoder's weights"):
        FullDecoder({"decoder.conv1.weight": torch.zeros(32, 16, 3, 3, 3)}, CPU)


def test_the_full_decoder_reads_the_names_of_the_published_file():
    """Wan2.1_VAE.pth doubles time at upsamples 3 and 7, and at 11 only space."""
    weights = wan_files.full_decoder()
    timed = sorted(name for name in weights if name.endswith("time_conv.weight"))
    assert timed == ["decoder.upsamples.3.time_conv.weight", "decoder.upsamples.7.time_conv.weight"]
    decoder = FullDecoder(weights, CPU)
    assert [len(decoder(z)) for z in LATENTS[:3]] == [1, 4, 4]
    named = {f"decoder.{name}" for name, _ in decoder.net.named_parameters()} | {"conv2.weight", "conv2.bias"}
    assert named == set(weights), "every tensor of the file is used, and no other is needed"
