"""T5: the same numbers as transformers' at the same weights, and nothing leaks."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration, T5Model
from transformers.models.t5.modeling_t5 import T5Attention

from cs_vl.convert.t5 import t5_from_hf, t5_state
from cs_vl.nn.relative_bias import RelativeBias, relative_position_bucket
from cs_vl.nn.rms_norm import RMSNorm
from cs_vl.nn.t5 import T5, shift_right

# heads * head_dim is not dim, the encoder is not as deep as the decoder
SIZES: dict[str, Any] = {
    "vocab_size": 37,
    "d_model": 20,
    "d_kv": 6,
    "num_heads": 3,
    "d_ff": 28,
    "num_layers": 2,
    "num_decoder_layers": 3,
}
BUCKETS = {"relative_attention_num_buckets": 12, "relative_attention_max_distance": 16}
GATED_AND_UNTIED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
V1_0 = T5Config(**(SIZES | BUCKETS), layer_norm_epsilon=1e-3)
V1_1 = T5Config(**(SIZES | GATED_AND_UNTIED))  # 32 buckets, 128 tokens
LENGTHS = {"v1.0": (41, 29), "v1.1": (150, 140)}  # source and target: both beyond max_distance
CONFIGS = {"v1.0": V1_0, "v1.1": V1_1}


def transformers_t5(config: T5Config) -> T5ForConditionalGeneration:
    """Random weights, all of them: at the start norms are 1."""
    torch.manual_seed(0)
    hf = T5ForConditionalGeneration(config).eval()
    hf.set_attn_implementation("eager")  # the one that returns its attention maps
    if config is V1_1:  # without a checkpoint that says otherwise, transformers ties this head too
        hf.lm_head.weight = torch.nn.Parameter(0.2 * torch.randn_like(hf.lm_head.weight))
    for name, p in hf.named_parameters():
        before = p.detach().clone()
        p.data += 0.1 * torch.randn_like(p)
        assert (p != before).all() and 0.05 < (p - before).std() < 0.2, name
    norms = [p for name, p in hf.named_parameters() if "norm" in name]
    biases = [p for name, p in hf.named_parameters() if "relative_attention_bias" in name]
    assert len(norms) == 2 * 2 + 3 * 3 + 2 and all((p != 1).all() for p in norms)
    assert len(biases) == 2 and all((p != 0).all() for p in biases)
    return hf


def weigh(outputs: list[torch.Tensor]) -> torch.Tensor:
    """A scalar that every entry of every output moves."""
    generator = torch.Generator().manual_seed(1)
    weighted = [(o * torch.randn(o.shape, generator=generator)).mean() for o in outputs]
    return 10 * torch.stack(weighted).sum()


def small_t5(**options) -> T5:
    torch.manual_seed(0)
    sizes = dict(vocab_size=37, dim=20, head_dim=6, heads=3, mlp_dim=28, encoder_depth=2, decoder_depth=2)
    t5 = T5(**(sizes | dict(buckets=8, max_distance=5) | options))
    for p in t5.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return t5


@pytest.mark.parametrize("version", CONFIGS)
def test_parity(version):
    """Every hidden state, cross-attention map and logit, and the gradient of every parameter."""
    hf = transformers_t5(CONFIGS[version])
    t5 = t5_from_hf(CONFIGS[version], hf.state_dict())
    source, target = LENGTHS[version]
    ids, decoder_ids = torch.randint(37, (3, source)), torch.randint(37, (3, target))
    lengths = torch.tensor([source, 3, source - 7])

    # transformers never shows the last block's output before the final norm: take each block's own
    their_hidden = []
    for block in (*hf.encoder.block, *hf.decoder.block):
        block.register_forward_hook(lambda module, inputs, output: their_hidden.append(output[0]))
    theirs = hf(
        input_ids=ids,
        attention_mask=(torch.arange(source) < lengths[:, None]).long(),
        decoder_input_ids=decoder_ids,
        output_attentions=True,
        output_hidden_states=True,
    )
    ours = t5(ids, decoder_ids, lengths)

    encoder, decoder = ours.encoder, ours.decoder
    assert len(encoder.hidden_states) == 3 and len(decoder.hidden_states) == 4
    assert encoder.cross_attention == () and len(decoder.cross_attention) == 3
    assert torch.equal(encoder.hidden_states[0], hf.shared(ids))
    assert torch.equal(decoder.hidden_states[0], hf.shared(decoder_ids))
    our_outputs = [
        *encoder.hidden_states[1:],
        *decoder.hidden_states[1:],
        encoder.tokens,
        decoder.tokens,
        *decoder.cross_attention,
        ours.logits,
    ]
    their_outputs = [
        *their_hidden,
        theirs.encoder_last_hidden_state,
        theirs.decoder_hidden_states[-1],
        *theirs.cross_attentions,
        theirs.logits,
    ]
    for i, (a, b) in enumerate(zip(our_outputs, their_outputs, strict=True)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5, f"output {i} differs by {(a - b).abs().max():.1e}"

    weigh(our_outputs).backward()
    weigh(their_outputs).backward()
    expected = t5_state({name: p.grad for name, p in hf.named_parameters()}, head_dim=1)
    assert expected.keys() == {name for name, _ in t5.named_parameters()}
    for name, p in t5.named_parameters():
        # a weight that the conversion made sqrt(head_dim) times as large has a gradient as much smaller
        scale = V1_0.d_kv**-0.5 if "q_proj" in name else 1.0
        difference = (p.grad - scale * expected[name]).abs().max()
        assert difference <= 1e-4, f"{name}: gradients differ by {difference:.1e}"
        assert p.grad.abs().max() > 1e-2, f"{name}: nearly no gradient"

    # the texts are long enough for every bucket to count; "0 tokens after" does not exist
    used = torch.ones_like(t5.encoder.bias.table[:, 0], dtype=torch.bool)
    used[len(used) // 2] = False
    assert torch.equal((t5.encoder.bias.table.grad != 0).all(dim=1), used)
    assert (t5.decoder.bias.table.grad != 0).all()


def test_padded_targets():
    """We take no lengths of the targets: real tokens get what transformers gives them with a mask."""
    hf = transformers_t5(V1_0)
    t5 = t5_from_hf(V1_0, hf.state_dict())
    ids, labels = torch.randint(37, (2, 6)), torch.randint(37, (2, 8))
    labels[1, 5:] = -100
    decoder_ids = shift_right(labels)
    assert torch.equal(decoder_ids, transformers_shift(hf, labels))
    assert decoder_ids[:, 0].tolist() == [0, 0] and decoder_ids[1].tolist()[6:] == [0, 0]
    real = labels != -100
    with torch.no_grad():
        ours = t5(ids, decoder_ids).logits
        theirs = hf(input_ids=ids, decoder_input_ids=decoder_ids, decoder_attention_mask=real.long()).logits
    assert (ours - theirs)[real].abs().max() <= 1e-5


def transformers_shift(hf: T5ForConditionalGeneration, labels: torch.Tensor) -> torch.Tensor:
    hf.config.decoder_start_token_id = 0
    return hf.prepare_decoder_input_ids_from_labels(labels)


def test_encode_once_then_decode():
    """Writing token by token: earlier logits stay as they are, and the encoder need not run again."""
    t5 = small_t5().eval()
    ids, decoder_ids, lengths = torch.randint(37, (2, 7)), torch.randint(37, (2, 5)), torch.tensor([7, 4])
    logits = t5(ids, decoder_ids, lengths).logits
    source = t5.encode(ids, lengths).tokens
    for length in range(1, 6):
        step = t5.to_logits(t5.decode(decoder_ids[:, :length], source, lengths).tokens)
        torch.testing.assert_close(step, logits[:, :length])


class TestConverter:
    """Files as on the hub, and one sentence where something does not fit."""

    def check(self, config, state, hf):
        ids, decoder_ids = torch.randint(37, (2, 6)), torch.randint(37, (2, 4))
        with torch.no_grad():
            ours = t5_from_hf(config, state)(ids, decoder_ids).logits
            theirs = hf(input_ids=ids, decoder_input_ids=decoder_ids).logits
        assert (ours - theirs).abs().max() <= 1e-5

    @pytest.mark.parametrize("version", CONFIGS)
    def test_saved_by_transformers(self, version, tmp_path):
        hf = transformers_t5(CONFIGS[version])
        hf.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        self.check(config, load_file(tmp_path / "model.safetensors"), hf)

    def test_first_files_of_v1_0(self):
        """t5-small has copies of the embedding, a bias that is not used, and few options in its config."""
        hf = transformers_t5(T5Config(**SIZES))
        state = hf.state_dict() | {
            "encoder.embed_tokens.weight": hf.shared.weight,
            "decoder.embed_tokens.weight": hf.shared.weight,
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.ones(32, 3),
        }
        config = SIZES | {
            "model_type": "t5",
            "layer_norm_epsilon": 1e-6,
            "relative_attention_num_buckets": 32,
        }
        self.check(config, state, hf)
        del state["lm_head.weight"]
        self.check(config, state, hf)

    def test_first_files_of_v1_1(self):
        """There `tie_word_embeddings` alone says that the head is separate, and the logits not scaled."""
        hf = transformers_t5(V1_1)
        config = SIZES | GATED_AND_UNTIED
        state = hf.state_dict()
        self.check(config, state, hf)
        del state["lm_head.weight"]
        with pytest.raises(ValueError, match=r"lacks 1 tensors of the model, such as head\.weight"):
            t5_from_hf(config, state)

    def test_tied_head_without_scale(self):
        """What transformers 5 makes of a fresh v1.1: it ties the head although the config says no."""
        torch.manual_seed(0)
        hf = T5ForConditionalGeneration(V1_1).eval()
        state = hf.state_dict()
        assert torch.equal(state["lm_head.weight"], state["shared.weight"])
        del state["lm_head.weight"]
        t5 = t5_from_hf(V1_1, state)
        ids = torch.randint(37, (2, 6))
        with torch.no_grad():
            theirs = hf(input_ids=ids, decoder_input_ids=ids).logits
            torch.testing.assert_close(t5(ids, ids).logits, theirs, atol=1e-4, rtol=1e-5)

    def test_model_without_head(self):
        torch.manual_seed(0)
        hf = T5Model(V1_0).eval()
        t5 = t5_from_hf(V1_0, hf.state_dict())
        ids = torch.randint(37, (2, 6))
        with torch.no_grad():
            theirs = hf(input_ids=ids, decoder_input_ids=ids).last_hidden_state
            assert (t5(ids, ids).decoder.tokens - theirs).abs().max() <= 1e-5

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"model_type": "bert"}, "model_type='bert': only 't5'"),
            ({"feed_forward_proj": "gated-silu"}, "'relu' or 'gated-gelu'; got 'gated-silu'"),
            (
                {"num_layers": 3},
                r"lacks 8 tensors of the model, such as encoder\.blocks\.2\.attn\.k_proj\.weight",
            ),
            ({"num_decoder_layers": 2}, r"no place for 13 tensors, such as decoder\.blocks\.2"),
            ({"d_ff": 30}, r"encoder\.blocks\.0\.mlp\.up\.weight should be \(30, 20\) .* has \(28, 20\)"),
        ],
    )
    def test_config_that_does_not_fit(self, option, message):
        hf = T5ForConditionalGeneration(V1_0)
        with pytest.raises(ValueError, match=message):
            t5_from_hf(V1_0.to_dict() | option, hf.state_dict())

    def test_tensors_that_do_not_fit(self):
        state = T5ForConditionalGeneration(V1_0).state_dict()
        with pytest.raises(ValueError, match=r"lacks 1 tensors of the model, such as embed\.weight"):
            t5_from_hf(V1_0, {name: t for name, t in state.items() if name != "shared.weight"})
        with pytest.raises(ValueError, match=r"no place for 1 tensors, such as adapter"):
            t5_from_hf(V1_0, state | {"adapter.weight": torch.zeros(2)})
        with pytest.raises(ValueError, match=r"lm_head\.weight differs from shared\.weight"):
            t5_from_hf(V1_0, state | {"lm_head.weight": state["lm_head.weight"] + 1})


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (12, 16), (8, 5), (10, 40), (36, 32)])
def test_buckets_against_transformers(bidirectional, buckets, max_distance):
    offset = torch.arange(-1500, 1501)
    ours = relative_position_bucket(
        offset, buckets=buckets, max_distance=max_distance, bidirectional=bidirectional
    )
    theirs = T5Attention._relative_position_bucket(offset, bidirectional, buckets, max_distance)
    assert torch.equal(ours, theirs)


def test_buckets_of_the_paper():
    """32 buckets, 128 tokens: worked out by hand."""

    def bucket(*offset, bidirectional):
        return relative_position_bucket(
            torch.tensor(offset), buckets=32, max_distance=128, bidirectional=bidirectional
        ).tolist()

    assert bucket(0, -1, -7, -8, -11, -12, -127, -128, -9999, bidirectional=True) == [
        *(0, 1, 7, 8, 8, 9, 15, 15, 15)
    ]
    assert bucket(1, 7, 8, 12, 9999, bidirectional=True) == [17, 23, 24, 25, 31]
    assert bucket(0, -1, -15, -16, -18, -19, -112, -113, -128, bidirectional=False) == [
        *(0, 1, 15, 16, 16, 17, 30, 31, 31)
    ]
    assert bucket(1, 500, bidirectional=False) == [0, 0]


def test_bias_is_the_only_order():
    """With an empty table the encoder cannot tell the order of its tokens; with a full one it can."""
    t5 = small_t5().double()
    ids, order = torch.randint(37, (2, 9)), torch.randperm(9)

    def difference():
        return (t5.encode(ids).tokens[:, order] - t5.encode(ids[:, order]).tokens).abs().max()

    assert difference() > 1e-2
    t5.encoder.bias.table.data.zero_()
    assert difference() < 1e-12


def test_bias_sees_only_the_offset():
    bias = RelativeBias(3, bidirectional=True, buckets=8, max_distance=5)
    torch.nn.init.normal_(bias.table)
    values = bias(6, 9)
    assert values.shape == (1, 3, 6, 9)
    assert torch.equal(values[..., 1:, 1:], values[..., :-1, :-1])
    assert torch.equal(bias(9, 6)[..., :6, :], values[..., :6])


@settings(max_examples=25, deadline=None)
@given(
    source=st.integers(1, 9),
    target=st.integers(1, 7),
    tied=st.booleans(),
    gated=st.booleans(),
    data=st.data(),
)
def test_nothing_leaks(source, target, tied, gated, data):
    """A logit's gradient is exactly zero at later target tokens, padding, and other samples; nowhere else."""
    t5 = small_t5(tied=tied, gated=gated)
    ids, decoder_ids = torch.randint(37, (3, source)), torch.randint(37, (3, target))
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, source), min_size=3, max_size=3)))
    sample, token = data.draw(st.integers(0, 2)), data.draw(st.integers(0, target - 1))
    out = t5(ids, decoder_ids, lengths)
    logit = (out.logits[sample, token] * torch.randn(37)).sum()
    to_source, to_target = torch.autograd.grad(
        logit, (out.encoder.hidden_states[0], out.decoder.hidden_states[0])
    )
    is_sample = (torch.arange(3) == sample)[:, None]
    assert torch.equal((to_source != 0).any(-1), is_sample & (torch.arange(source) < lengths[sample]))
    assert torch.equal((to_target != 0).any(-1), is_sample & (torch.arange(target) <= token))


@pytest.mark.parametrize("tied", [True, False])
def test_start(tied):
    """Logits start at about unit size, so that the first loss is near ln(vocab)."""
    torch.manual_seed(0)
    t5 = T5(
        vocab_size=500, dim=64, head_dim=16, heads=4, mlp_dim=96, encoder_depth=2, decoder_depth=2, tied=tied
    )
    logits = t5(torch.randint(500, (4, 12)), torch.randint(500, (4, 10))).logits
    assert 0.7 < logits.std() < 1.4
    assert "head.weight" not in t5.state_dict() or not tied


def test_rms_norm():
    torch.manual_seed(0)
    ours, torchs = RMSNorm(6, eps=0.1).double(), torch.nn.RMSNorm(6, eps=0.1).double()
    torchs.weight.data = ours.weight.data = torch.randn(6).double()
    x = torch.randn(2, 3, 6).double()
    torch.testing.assert_close(ours(x), torchs(x))


def test_errors():
    t5 = small_t5()
    ids = torch.randint(37, (2, 5))
    for wrong in ([0, 5], [5, 6]):
        with pytest.raises(ValueError, match="from 1 to key_len=5"):
            t5(ids, ids, torch.tensor(wrong))
    with pytest.raises(ValueError, match="buckets must be 4 at least; got 3"):
        RelativeBias(2, bidirectional=True, buckets=3)
    with pytest.raises(ValueError, match="max_distance must exceed the 8 distances"):
        RelativeBias(2, bidirectional=True, max_distance=8)
