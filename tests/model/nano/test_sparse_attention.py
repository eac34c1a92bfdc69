import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from worldjockey.model.nano import sparse_attention
from worldjockey.model.nano.sparse_attention import Sparsity, _flex, attend, choose, mask_of, tiles


def make(rows=3, columns=8, block=4, seed=0):
    torch.manual_seed(seed)
    q = torch.randn(2, 2, rows * block, 8, requires_grad=True)
    k, v = (torch.randn(2, 2, columns * block, 8, requires_grad=True) for _ in range(2))
    return q, k, v


def dense(q, k, v, seen, block):
    mask = seen.repeat_interleave(block, -1).repeat_interleave(block, -2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def test_with_every_block_kept_it_is_dense_attention():
    q, k, v = make()
    s = Sparsity(4, sinks=1, local=1, far=8)
    past = torch.ones(8, 8, dtype=torch.bool).tril()[5:].expand(2, 2, 3, 8)
    assert torch.equal(choose(q, k, s), past)
    torch.testing.assert_close(attend(q, k, v, s), dense(q, k, v, past, 4), atol=1e-5, rtol=1e-5)


def test_it_is_dense_attention_over_what_it_chose_and_gradients_flow_there_only():
    q, k, v = make()
    s = Sparsity(4, sinks=1, local=1, far=1)
    seen = choose(q, k, s)
    out = attend(q, k, v, s)
    torch.testing.assert_close(out, dense(q, k, v, seen, 4), atol=1e-5, rtol=1e-5)
    out.square().sum().backward()
    used = v.grad.abs().sum(-1).unflatten(-1, (8, 4)).sum(-1) > 0
    assert torch.equal(used, seen.any(-2))


def test_sinks_and_the_latest_are_always_seen_the_future_never_and_the_best_of_the_rest():
    q, k, _ = make(rows=1, columns=9)
    with torch.no_grad():
        k[:, :, 16:20] = q.mean(-2, keepdim=True) * 10  # block 4 is what is looked for
    seen = choose(q, k, Sparsity(4, sinks=1, local=2, far=1))[:, :, 0]
    want = torch.zeros(9, dtype=torch.bool)
    want[[0, 4, 7, 8]] = True
    assert torch.equal(seen, want.expand_as(seen))
    early = choose(*make(rows=9, columns=9)[:2], Sparsity(4, sinks=1, local=1, far=2))
    assert not early.triu(1).any()
    assert early.diagonal(dim1=-2, dim2=-1).all()


@pytest.mark.parametrize(("block", "rows", "columns"), [(144, 2, 9), (16, 3, 40), (128, 1, 4), (300, 2, 5)])
def test_tiles_are_those_that_flexattention_would_find_token_by_token(block, rows, columns):
    q, k, _ = (t.detach() for t in make(rows, columns, block))
    s = Sparsity(block, sinks=1, local=1, far=1)
    seen = choose(q, k, s)
    slow = create_block_mask(mask_of(seen, s), 2, 2, rows * block, columns * block, device="cpu").to_dense()
    assert torch.equal(tiles(seen, s, 128), slow > 0)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize(("block", "columns"), [(16, 4), (144, 8)])
def test_the_gpu_path_makes_the_same_choice(block, columns):
    q, k, v = (t.detach() for t in make(rows=2, columns=columns, block=block))
    s = Sparsity(block, sinks=1, local=1, far=1)
    seen = choose(q, k, s)
    says = mask_of(seen, s)
    at = [torch.tensor(i) for i in (1, 0, block + 1, 2 * block + 8)]
    assert bool(says(*at)) == bool(seen[1, 0, 1, 2])
    torch.testing.assert_close(_flex(q, k, v, seen, s, None), attend(q, k, v, s), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_on_a_gpu_one_compiled_kernel_serves_memories_of_any_length(monkeypatch):
    compiled, compile_ = [], torch.compile

    def as_it_is(function, **how):
        if function is not flex_attention:  # which compiles a part of itself in any case
            return compile_(function, **how)
        compiled.append(how)
        return function

    lengths = [make(rows=2, columns=columns, block=16) for columns in (4, 6)]
    s = Sparsity(16, sinks=1, local=1, far=1)
    wanted = [attend(*qkv, s) for qkv in lengths]
    monkeypatch.setattr(sparse_attention, "on_gpu", lambda x: True)
    monkeypatch.setattr(torch, "compile", as_it_is)
    sparse_attention._flexed.cache_clear()
    for qkv, want in zip(lengths, wanted, strict=True):
        torch.testing.assert_close(attend(*(t.detach() for t in qkv), s), want.detach(), atol=1e-4, rtol=1e-4)
    sparse_attention._flexed.cache_clear()
    assert compiled == [{"dynamic": True}]


def test_broken_blocks_are_said():
    with pytest.raises(ValueError, match="whole blocks of 5"):
        choose(*make()[:2], Sparsity(5))


def test_more_queries_than_keys_and_choices_that_see_nothing_are_refused():
    with pytest.raises(ValueError, match="only 8 keys"):
        choose(*make(rows=3, columns=2)[:2], Sparsity(4))
    with pytest.raises(ValueError, match="sees nothing"):
        Sparsity(4, sinks=0, local=0, far=0)
