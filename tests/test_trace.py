"""Traces: corruptions, what is dropped and why, and what is refused."""

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_encoders import bert, clip, exact_scores, siglip
from small_models import word_tokenizer

from negtrace._files import locked
from negtrace.encoders.base import Encoder
from negtrace.encoders.toy import ToyEncoder
from negtrace.encoders.wrap import wrap
from negtrace.errors import NegtraceWarning, OutputError, PairError, TraceError, UnknownNameError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair, pairs_digest
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.config import TraceConfig, TraceOptions
from negtrace.tracing.corruptions.base import CORRUPTIONS, corruption_named
from negtrace.tracing.corruptions.neutral import Neutral
from negtrace.tracing.corruptions.noise import Noise
from negtrace.tracing.trace import trace

PAIRS = radiology_pairs()
NEGATED = [pair for pair in PAIRS if pair.negated == "true"]


def pair(true: str, false: str, anchor: str = "The lungs are clear.", **rest: object) -> Pair:
    return Pair(true=true, false=false, anchor=Anchor(text=anchor), **rest)


def test_the_default_pairs_trace_on_any_text_tower() -> None:
    for encoder in (ToyEncoder(), clip(), bert()):
        cte = trace(encoder, progress=False)
        assert len(cte) == len(PAIRS)
        assert not cte.dropped
        assert cte.negated.sum() == len(PAIRS) / 2


def test_a_result_says_what_made_it() -> None:
    encoder = clip()
    cte = trace(encoder, PAIRS[:4], corruption="noise", settings={"samples": 2}, progress=False)
    made = cte.provenance
    assert (made.model, made.family) == ("clip", "dual encoder")
    assert made.weights_digest == encoder.digest
    assert made.pairs_digest == pairs_digest([p for p in PAIRS[:4] if p.id in cte.ids])
    assert made.config["corruption"] == {"name": "noise", "multiple": 3.0, "samples": 2, "seed": 0}
    assert cte.texts is None


def test_statements_are_kept_only_when_asked_for() -> None:
    cte = trace(ToyEncoder(), PAIRS[:2], include_text=True, progress=False)
    assert cte.texts == tuple((p.true, p.false) for p in PAIRS[:2])


def test_an_image_is_embedded_once_for_all_its_pairs() -> None:
    encoder = clip()
    calls = []
    encoder._embed_images = lambda images, own=encoder._embed_images: (
        calls.append(len(images)) or own(images)
    )
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    pairs = [
        Pair(true=p.true, false=p.false, anchor=Anchor(image=pixels.copy()), id=p.id)
        for p in PAIRS[:5]
    ]
    trace(encoder, pairs, progress=False)
    assert calls == [1]


@pytest.mark.parametrize("corruption", ["neutral", "noise"])
def test_a_pair_without_a_cue_in_its_true_statement_is_dropped_by_name(corruption: str) -> None:
    cte = trace(clip(), PAIRS[:8], corruption=corruption, progress=False)
    kept = {p.id for p in PAIRS[:8] if p.negated == "true"}
    assert set(cte.ids) == kept
    assert {drop.id for drop in cte.dropped} == {p.id for p in PAIRS[:8]} - kept
    assert {drop.code for drop in cte.dropped} == {"affirmative-clean"}


def test_neutral_replaces_the_cue_token_for_token() -> None:
    encoder = clip()
    one = pair("No effusion is seen.", "Some effusion is seen.")
    true, false = encoder.tokenize([one.true, one.false])
    [contrast] = Neutral().contrasts(one, true, false, encoder)
    [there] = encoder.tokenize(["The effusion is seen."])
    assert contrast.corrupt.ids == there.ids
    assert contrast.first_difference == 1


def test_a_neutral_word_that_is_no_single_token_is_dropped() -> None:
    with pytest.raises(TraceError, match="does not fill the cue token for token"):
        trace(
            clip(),
            NEGATED[:1],
            corruption="neutral",
            settings={"word": "of any"},
            progress=False,
        )


def test_noise_depends_on_the_content_of_a_pair_and_not_on_its_id() -> None:
    encoder = clip()
    options = {"corruption": Noise(samples=2), "progress": False}
    one, other = (trace(encoder, [replace(NEGATED[0], id=id_)], **options) for id_ in "ab")
    np.testing.assert_array_equal(one.patched, other.patched)


def test_noise_depends_on_the_pair_and_the_seed_alone() -> None:
    encoder = clip()
    whole = trace(encoder, NEGATED[:3], corruption="noise", progress=False)
    alone = trace(encoder, NEGATED[2:3], corruption="noise", progress=False)
    width = alone.patched.shape[-1]
    np.testing.assert_allclose(whole.patched[2, ..., :width], alone.patched[0], atol=1e-5)
    other = trace(encoder, NEGATED[:3], corruption=Noise(seed=1), progress=False)
    assert not np.allclose(whole.corrupt, other.corrupt)


def test_noise_is_as_large_as_asked_in_every_dimension() -> None:
    encoder = clip()
    true, false = encoder.tokenize([NEGATED[0].true, NEGATED[0].false])
    contrasts = Noise(multiple=2.0, samples=256).contrasts(NEGATED[0], true, false, encoder)
    # Dimensions of very unequal size: the noise has one size, that of all entries together.
    hidden = torch.randn(len(true), 32) * torch.linspace(0.1, 10, 32)
    cue = contrasts[0].first_difference
    moved = torch.stack([contrast.corrupt.edit(hidden) - hidden for contrast in contrasts])
    expected = torch.full((32,), 2 * hidden.std().item())
    torch.testing.assert_close(moved[:, cue].std(dim=0), expected, rtol=0.2, atol=0)
    assert moved.abs().sum(-1).nonzero()[:, 1].unique().tolist() == [cue]


def test_patched_scores_are_averaged_over_samples() -> None:
    encoder, pairs, noise = clip(torch.float64), NEGATED[:2], Noise(samples=5)
    cte = trace(encoder, pairs, corruption=noise, progress=False)
    for pair, patched in zip(pairs, cte.patched, strict=True):
        true, false = encoder.tokenize([pair.true, pair.false])
        contrasts = noise.contrasts(pair, true, false, encoder)
        with torch.inference_mode():
            anchors = encoder.embed_anchors([pair.anchor] * 5)
            scores = exact_scores(encoder, contrasts, anchors)
        mean = np.mean([each.patched for each in scores], axis=0)
        np.testing.assert_allclose(patched[..., : mean.shape[2]], mean, atol=1e-12)
        spread = np.ptp([each.patched for each in scores], axis=0)
        assert spread.max() > 1e-3  # a median, or one sample alone, would not pass


def test_samples_are_averaged() -> None:
    encoder = clip()
    many = trace(encoder, NEGATED[:1], corruption=Noise(samples=3), progress=False)
    true, false = encoder.tokenize([NEGATED[0].true, NEGATED[0].false])
    with torch.inference_mode():
        anchor = encoder.embed_anchors([NEGATED[0].anchor])
        corrupt = []
        for contrast in Noise(samples=3).contrasts(NEGATED[0], true, false, encoder):
            handle = encoder.blocks[0].register_forward_pre_hook(
                lambda _, args, edit=contrast.corrupt.edit: (edit(args[0][0])[None], *args[1:])
            )
            corrupt.append(encoder.score(encoder.encode(torch.tensor([true.ids])), anchor).item())
            handle.remove()
    assert many.corrupt[0] == pytest.approx(np.mean(corrupt), abs=1e-5)


def test_unequal_statements_are_aligned_or_dropped_with_the_reason() -> None:
    pairs = [
        pair("There is no effusion.", "There is an abnormality of effusion.", id="aligned"),
        pair("There is no effusion.", "There is effusion.", id="deleted"),
        pair("There is no effusion.", "Some cars.", id="other"),
        pair("There is no effusion.", "There is some effusion.", id="equal"),
    ]
    with pytest.warns(NegtraceWarning, match="1 of 3 pairs differs in more than the negation"):
        cte = trace(clip(), pairs, progress=False)
    assert cte.ids == ("aligned", "deleted", "equal")
    assert {drop.id: drop.code for drop in cte.dropped} == {"other": "subject-changed"}
    assert set(cte.ids) | {drop.id for drop in cte.dropped} == {p.id for p in pairs}
    for drop in cte.dropped:
        assert "effusion" not in drop.reason


def test_a_siglip_pair_traces_over_its_filled_context() -> None:
    cte = trace(siglip(), PAIRS[:2], progress=False)
    roles = np.array(cte.role_names)[cte.roles]
    assert (roles[:, -1] == "end").all()
    assert (roles == "pad").any()
    assert np.isfinite(cte.patched).all()


def test_pairs_that_cannot_be_traced_are_dropped_and_the_rest_goes_on() -> None:
    long = pair(
        f"There is no effusion{' and the heart' * 9}.",
        f"There is some effusion{' and the heart' * 9}.",
        id="long",
    )
    image = Pair(
        true=PAIRS[0].true,
        false=PAIRS[0].false,
        anchor=Anchor(image=np.zeros((8, 8), np.uint8)),
        id="image",
    )
    cte = trace(bert(), [long, image, PAIRS[1]], progress=False)
    assert cte.ids == (PAIRS[1].id,)
    assert {drop.id: drop.code for drop in cte.dropped} == {
        "long": "too-long",
        "image": "image-anchor",
    }


def test_nothing_left_to_trace_says_why() -> None:
    affirmative = [p for p in PAIRS if p.negated == "false"][:3]
    with pytest.raises(TraceError, match=r"no pair is left to trace: 3 affirmative-clean \(the tr"):
        trace(clip(), affirmative, corruption="noise", progress=False)
    with pytest.raises(TraceError, match="no pairs were given"):
        trace(clip(), [], progress=False)


def test_repeated_ids_are_refused() -> None:
    twice = [pair("No car.", "Some car.", id="x"), pair("No cars.", "Some cars.", id="x")]
    with pytest.raises(TraceError, match="1 pair ids occur twice, 'x' first"):
        trace(ToyEncoder(), twice, progress=False)


def test_scores_that_are_not_numbers_are_dropped() -> None:
    encoder = bert()
    with torch.no_grad():
        row = encoder.tokenize(["pneumothorax"])[0].ids[1]
        encoder.model.embeddings.word_embeddings.weight[row] = torch.nan
    cte = trace(encoder, PAIRS, progress=False)
    lost = [drop for drop in cte.dropped if drop.code == "nan-score"]
    assert len(lost) == 10
    assert len(cte) == len(PAIRS) - 10
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight.fill_(torch.nan)
    with pytest.raises(TraceError, match="140 nan-score"):
        trace(encoder, PAIRS, progress=False)


def test_a_model_that_hears_no_negation_is_refused() -> None:
    encoder = bert()
    ids = [encoder.tokenize([w])[0].ids[1] for w in ("no", "some", "without", "with")]
    ids += [encoder.tokenize([w])[0].ids[1] for w in ("absent", "present")]
    with torch.no_grad():
        words = encoder.model.embeddings.word_embeddings.weight
        words[ids] = words[ids[0]].clone()
    pairs = [
        Pair(true=f"There is no {word}.", false=f"There is some {word}.", anchor=PAIRS[0].anchor)
        for word in ("effusion", "edema")
    ]
    with pytest.raises(TraceError, match=r"alike \(d = 0\).*negtrace check"):
        trace(encoder, pairs, progress=False)


def test_options_are_the_fields_of_the_config_and_replace_them() -> None:
    assert list(TraceOptions.__annotations__) == [field.name for field in fields(TraceConfig)]
    config = TraceConfig(direction="noising", corruption="neutral")
    by_config = trace(ToyEncoder(), PAIRS[:4], config, progress=False)
    by_options = trace(
        ToyEncoder(), PAIRS[:4], direction="noising", corruption="neutral", progress=False
    )
    assert by_config.provenance.config == by_options.provenance.config
    np.testing.assert_array_equal(by_config.patched, by_options.patched)
    both = trace(ToyEncoder(), PAIRS[:4], config, direction="denoising", progress=False)
    assert (both.direction, both.corruption) == ("denoising", "neutral")
    with pytest.raises(UnknownNameError, match="unknown setting of a trace 'sitess'; known: corr"):
        trace(ToyEncoder(), PAIRS[:1], sitess=["resid"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": []}, "sites none: name each once"),
        ({"sites": "resid"}, r"sites is the text 'resid'; expected a list: \['resid'\]"),
        ({"sites": ["head.x"]}, "unknown site 'head.x'; known: resid"),
        ({"positions": []}, r"positions \[\]; expected 'token'"),
        ({"steps": 0}, "steps is 0; expected 1 or more"),
        ({"verify": -1}, "verify is -1; expected 0 or more"),
        ({"row_tokens": 0}, "row_tokens is 0; expected 1 or more"),
        ({"verify": 2}, "verify=2 with method='exact', which is exact already"),
    ],
)
def test_a_config_is_checked_before_a_model_is_there(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        TraceConfig(**options)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'shuffle'; known: .*mask, mean, neutral, .*swap"):
        trace(ToyEncoder(), PAIRS[:1], corruption="shuffle")
    with pytest.raises(UnknownNameError, match="'both'; known: denoising, noising"):
        trace(ToyEncoder(), PAIRS[:1], direction="both")
    with pytest.raises(TraceError, match="no setting 'sigma'; its settings are: multiple, samples"):
        corruption_named("noise", {"sigma": 1})
    assert corruption_named("noise", {"multiple": 2}) == Noise(multiple=2.0)
    with pytest.raises(TraceError, match="multiple of 'noise' is '2'; expected float"):
        corruption_named("noise", {"multiple": "2"})
    with pytest.raises(TraceError, match="expected a positive multiple"):
        Noise(multiple=-1.0)
    known = {"mask", "mean", "neutral", "noise", "resample", "swap", "zero"}
    assert known <= {*CORRUPTIONS}


def test_a_batch_is_repeated_whole_unless_all_of_it_is_done() -> None:
    encoder = clip()
    tokens = [encoder.tokenize([pair.true, pair.false]) for pair in NEGATED[:40]]
    contrasts = [
        contrast
        for pair, (true, false) in zip(NEGATED, tokens, strict=False)
        for contrast in corruption_named("swap").contrasts(pair, true, false, encoder)
        if len(true) == len(tokens[0][0])
    ]
    with torch.inference_mode():
        anchors = encoder.embed_anchors([NEGATED[0].anchor]).expand(len(contrasts), -1)
        whole = exact_scores(encoder, contrasts, anchors)
        rest = exact_scores(encoder, contrasts, anchors, done={0, 2})
        assert not exact_scores(encoder, contrasts, anchors, done={*range(len(contrasts))})
    assert len(contrasts) > 3
    assert [scores.index for scores in rest] == [scores.index for scores in whole]
    for one, other in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(one.patched, other.patched)


@pytest.mark.filterwarnings("ignore:hooks of your own")  # what interrupts is a hook
def test_an_interrupted_trace_goes_on_to_the_identical_result(tmp_path: Path) -> None:
    encoder, saved = clip(), tmp_path / "denoising.partial"
    options = {"row_tokens": 600, "progress": False}
    whole = trace(encoder, PAIRS[:30], **options)
    forwards = []
    handle = encoder.model.text_model.register_forward_hook(lambda *_: forwards.append(1))
    trace(encoder, PAIRS[:30], **options)  # with the self-check of an encoder with a hook
    forwards.clear()
    trace(encoder, PAIRS[:30], **options)
    handle.remove()
    near_the_end = len(forwards) - 4
    forwards.clear()

    def interrupted(*_: object) -> None:
        forwards.append(1)
        if len(forwards) == near_the_end:
            raise KeyboardInterrupt

    handle = encoder.model.text_model.register_forward_hook(interrupted)
    with pytest.raises(KeyboardInterrupt):
        trace(encoder, PAIRS[:30], checkpoint=saved, **options)
    forwards.clear()
    handle.remove()
    handle = encoder.model.text_model.register_forward_hook(lambda *_: forwards.append(1))
    resumed = trace(encoder, PAIRS[:30], checkpoint=saved, **options)
    after = len(forwards)
    forwards.clear()
    trace(encoder, PAIRS[:30], **options)
    handle.remove()
    assert after < len(forwards)
    np.testing.assert_array_equal(resumed.patched, whole.patched)
    np.testing.assert_array_equal(resumed.clean, whole.clean)
    with pytest.raises(OutputError, match=r"another run; it differs in .*pairs: '.*' / '.*'"):
        trace(encoder, PAIRS[:29], checkpoint=saved, **options)
    with pytest.raises(OutputError, match=r"config.window: 1 / 2 \(.*\).* delete the file"):
        trace(encoder, PAIRS[:30], checkpoint=saved, window=2, **options)
    saved.write_bytes(b"damaged")
    with pytest.raises(OutputError, match=r"is damaged, or no progress .* delete the file"):
        trace(encoder, PAIRS[:3], checkpoint=saved, **options)
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


def read_as(read_out: str) -> Encoder:
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Embedding(120, 16), Mixing(), Mixing())
    return wrap(tower, word_tokenizer(), blocks=["1", "2"], read_out=read_out, name="tower")


class Mixing(torch.nn.Module):
    """A block that adds the mean of all tokens, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, 16)
        self.register_buffer("factor", torch.ones(16), persistent=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = hidden.mean(dim=1, keepdim=True) + hidden
        return hidden + self.factor * torch.tanh(self.linear(mixed))


def test_progress_of_another_read_out_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "progress"
    trace(read_as("mean"), PAIRS[:3], checkpoint=saved, progress=False)
    with pytest.raises(OutputError, match=r"config\.reading\.read_out: 'mean' / 'first'"):
        trace(read_as("first"), PAIRS[:3], checkpoint=saved, progress=False)


def test_progress_with_another_buffer_is_refused(tmp_path: Path) -> None:
    saved, encoder = tmp_path / "progress", read_as("mean")
    trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
    encoder.model[2].factor.mul_(0.5)
    with pytest.raises(OutputError, match="scores that the model no longer gives"):
        trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)


@pytest.mark.filterwarnings("ignore:hooks of your own")
def test_progress_is_resumed_with_a_hook_only_if_it_changes_no_score(tmp_path: Path) -> None:
    saved, encoder = tmp_path / "progress", read_as("mean")
    whole = trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
    with encoder.model[2].register_forward_hook(lambda *_: None):
        resumed = trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
    np.testing.assert_array_equal(resumed.patched, whole.patched)
    with (
        encoder.model[2].register_forward_hook(lambda *call: call[-1] * torch.arange(16)),
        pytest.raises(OutputError, match="scores that the model no longer gives"),
    ):
        trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)


def test_progress_with_other_positions_is_refused(tmp_path: Path) -> None:
    saved, encoder, pair = tmp_path / "progress", read_as("mean"), PAIRS[0]
    one, other = {pair.id: [1]}, {pair.id: [2]}
    trace(encoder, [pair], checkpoint=saved, progress=False, positions=one)
    with pytest.raises(OutputError, match="tokens: "):
        trace(encoder, [pair], checkpoint=saved, progress=False, positions=other)


class Shifting(Mixing):
    """A block whose unsaved buffer acts on the positions behind the tenth only."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        late = torch.arange(hidden.shape[1])[:, None] >= 10
        return hidden + torch.where(late, self.factor, 1.0) * torch.tanh(self.linear(hidden))


def test_progress_with_a_buffer_that_only_long_statements_meet_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Embedding(120, 16), Shifting(), Shifting())
    encoder = wrap(tower, word_tokenizer(), blocks=["1", "2"], read_out="mean", name="tower")
    long = Pair(
        true="The heart is of normal size, and there is no pleural effusion.",
        false="The heart is of normal size, and there is some pleural effusion.",
        anchor=PAIRS[0].anchor,
    )
    pairs, saved = [PAIRS[0], long], tmp_path / "progress"
    first = trace(encoder, pairs, checkpoint=saved, progress=False)
    encoder.model[2].factor.mul_(0.5)
    with pytest.raises(OutputError, match="scores that the model no longer gives"):
        trace(encoder, pairs, checkpoint=saved, progress=False)
    now = trace(encoder, pairs, progress=False)
    assert first.clean[0] == now.clean[0]
    assert first.clean[1] != now.clean[1]


def test_a_damaged_record_is_run_again_and_the_ones_before_it_are_kept(tmp_path: Path) -> None:
    saved, encoder = tmp_path / "progress", read_as("mean")
    whole = trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
    data = saved.read_bytes()
    for place in (-1, -50, len(data) // 2):
        flipped = bytearray(data)
        flipped[place] ^= 4
        saved.write_bytes(flipped)
        with pytest.warns(NegtraceWarning, match="is damaged behind .* are run again"):
            resumed = trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
        np.testing.assert_array_equal(resumed.patched, whole.patched)
        assert len(saved.read_bytes()) == len(data)
    for length in (len(data) - 1, len(data) // 2):
        saved.write_bytes(data[:length])  # the process ended while it wrote
        resumed = trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
        np.testing.assert_array_equal(resumed.patched, whole.patched)
    for length in (1, 20, 100):
        saved.write_bytes(data[:length])
        with pytest.raises(OutputError, match="is damaged, or no progress of a trace"):
            trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)


def test_a_checkpoint_is_held_by_one_trace_at_a_time(tmp_path: Path) -> None:
    saved, encoder = tmp_path / "progress", read_as("mean")
    with (
        locked(tmp_path / ".progress.lock", saved),
        pytest.raises(OutputError, match=rf"in use by process {os.getpid()} on .* since 20"),
    ):
        trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)
    trace(encoder, PAIRS[:3], checkpoint=saved, progress=False)


def test_progress_with_another_image_is_refused(tmp_path: Path) -> None:
    file, saved = tmp_path / "film.png", tmp_path / "progress"
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    encoder = clip(torch.float64)
    Image.fromarray(pixels[0]).save(file)
    pairs = [replace(pair, anchor=Anchor(image=file)) for pair in PAIRS[:2]]
    trace(encoder, pairs, checkpoint=saved, progress=False)
    Image.fromarray(pixels[1]).save(file)
    with pytest.raises(PairError, match="changed after the pair was made"):
        trace(encoder, pairs, checkpoint=saved, progress=False)
    pairs = [replace(pair, anchor=Anchor(image=file)) for pair in PAIRS[:2]]
    with pytest.raises(OutputError, match="pairs_digest: "):
        trace(encoder, pairs, checkpoint=saved, progress=False)
