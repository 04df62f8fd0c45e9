"""Corruptions: what each puts in the place of the cue, and the laws that all of them keep."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import ENCODERS, bert, clip, exact_scores, oracle, patched_at

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import captured
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import AlignmentError, TraceError
from negtrace.language.cues import find_cues
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption, corruption_named
from negtrace.tracing.corruptions.contrast import Contrast
from negtrace.tracing.corruptions.mask import Mask
from negtrace.tracing.corruptions.mean import Mean
from negtrace.tracing.corruptions.noise import Noise
from negtrace.tracing.corruptions.resample import Resample
from negtrace.tracing.trace import trace

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "corruptions.md"
PAIRS = [pair for pair in radiology_pairs() if pair.negated == "true"]
ON_CUE = ("mask", "mean", "neutral", "noise", "resample", "zero")
FAMILIES = ("toy", "clip", "siglip", "bert-mean", "bert-cls", "phantom")
MASKED = ("bert-mean", "bert-cls")
CASES = [
    (family, name)
    for family in FAMILIES
    for name in CORRUPTIONS
    if name != "mask" or family in MASKED
]


@cache
def tower(family: str) -> Encoder:
    return ENCODERS[family](torch.float64)


def contrasts_of(made: Corruption, pair: Pair, encoder: Encoder) -> list[Contrast]:
    true, false = encoder.tokenize([pair.true, pair.false])
    return made.contrasts(pair, true, false, encoder)


def long_cue() -> Pair:
    return Pair(
        true="There is no evidence of effusion.",
        false="There is some effusion.",
        anchor=Anchor(text="The lungs are clear."),
    )


@pytest.mark.parametrize(("family", "name"), CASES)
def test_the_cue_is_the_whole_difference_at_embed(family: str, name: str) -> None:
    encoder = tower(family)
    made = corruption_named(name).prepared(PAIRS[:3], encoder)
    contrasts = contrasts_of(made, PAIRS[0], encoder)
    with torch.inference_mode():
        anchors = encoder.embed_anchors([PAIRS[0].anchor] * len(contrasts))
        for way in DIRECTIONS:
            for scores in exact_scores(encoder, contrasts, anchors, direction=way):
                contrast = contrasts[scores.index]
                cue = np.array(contrast.clean.roles) == "cue"
                whole, none = scores.clean, scores.corrupt
                if way == "noising":
                    whole, none = none, whole
                assert scores.patched[0, 0, cue] == pytest.approx(whole, abs=1e-9)
                assert scores.patched[0, 0, ~cue] == pytest.approx(none, abs=1e-12)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_corrupted_run_patched_with_its_own_states_is_itself(family: str, name: str) -> None:
    encoder = tower(family)
    made = corruption_named(name).prepared(PAIRS[:3], encoder)
    run = contrasts_of(made, PAIRS[0], encoder)[0].corrupt
    ids = torch.tensor([run.ids])
    edit = (lambda hidden: run.edit(hidden[0])[None]) if run.edit else None
    with torch.inference_mode():
        with captured(encoder.blocks, edit) as base:
            plain = encoder.encode(ids)
        for layer, state in enumerate(base.states()):
            with patched_at(encoder, layer, state):
                assert torch.equal(encoder.encode(ids), plain)


@pytest.mark.parametrize("name", ON_CUE)
@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_cue_of_several_tokens_is_corrupted_whole(name: str, way: str) -> None:
    encoder, pair = bert(torch.float64), long_cue()
    made = corruption_named(name).prepared([pair, *PAIRS[:3]], encoder)
    contrast = contrasts_of(made, pair, encoder)[0]
    assert contrast.clean.roles.count("cue") == 3
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, [contrast], anchor, direction=way)
    expected = oracle(encoder, contrast, anchor[0], way)
    np.testing.assert_allclose(scores.patched[0], expected, atol=1e-12)
    base = scores.corrupt if way == "denoising" else scores.clean
    differs = np.abs(scores.patched[0, 0] - base) > 1e-9
    np.testing.assert_array_equal(differs, np.array(contrast.clean.roles) == "cue")


UNEQUAL = (
    ("No evidence of pneumothorax.", "Pneumothorax.", "pneumothorax", "deletion"),
    ("There is no effusion.", "There is effusion.", "effusion", "deletion"),
    ("The chest is free of effusion.", "The chest has effusion.", "effusion", "substitution"),
    ("Effusion is absent.", "There is an effusion.", "effusion", "moved"),
    ("No effusion is seen.", "Some effusion seen in the chest.", "effusion", "substitution"),
)


def unequal(row: tuple[str, str, str, str], turned: bool) -> Pair:
    negated, affirmative, subject, _ = row
    cue = find_cues(negated)[0]
    true, false = (affirmative, negated) if turned else (negated, affirmative)
    return Pair(
        true=true,
        false=false,
        anchor=Anchor(text="The lungs are clear."),
        negated="false" if turned else "true",
        cue=(cue.start, cue.end),
        subject=subject,
    )


@pytest.mark.parametrize("row", UNEQUAL)
@pytest.mark.parametrize("way", DIRECTIONS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_laws_of_statements_of_unequal_length(
    family: str, turned: bool, way: str, row: tuple[str, str, str, str]
) -> None:
    encoder, pair = tower(family), unequal(row, turned)
    [contrast] = contrasts_of(corruption_named("swap"), pair, encoder)
    assert contrast.rule == row[-1]
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, [contrast], anchor, direction=way)
    expected = oracle(encoder, contrast, anchor[0], way)
    np.testing.assert_allclose(scores.patched[0], expected, atol=1e-10)
    base, sources = contrast.corrupt, contrast.corrupt_from_clean
    unpatched, whole = scores.corrupt, scores.clean
    if way == "noising":
        base, sources = contrast.clean, contrast.clean_from_corrupt
        unpatched, whole = whole, unpatched
    lacking = np.array([not found for found in sources])
    np.testing.assert_array_equal(np.isnan(scores.patched[0]), np.tile(lacking, (len(expected), 1)))
    if encoder.causal:
        before = scores.patched[0, :, : contrast.first_difference]
        assert before == pytest.approx(unpatched, abs=1e-12)
    if base.read_out is not None:
        assert scores.patched[0, -1, base.read_out] == pytest.approx(whole, abs=1e-9)


def test_a_run_without_the_cue_has_no_cell_for_it() -> None:
    encoder, pair = clip(), unequal(UNEQUAL[1], turned=False)
    for way, has_cue in (("denoising", False), ("noising", True)):
        cte = trace(encoder, [pair], direction=way, progress=False)
        assert (np.array(cte.role_names)[cte.roles] == "cue").any() == has_cue
        assert np.isfinite(cte.patched).any()
        effect = cte.effect(floor=0.0)
        assert np.isfinite(effect.at(encoder.layers[-1], "end").value)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_preparing_keeps_the_settings(name: str) -> None:
    made = corruption_named(name)
    prepared = made.prepared(PAIRS[:3], clip())
    assert prepared.settings() == made.settings()
    assert prepared == made
    assert len(repr(prepared)) < 100


@pytest.mark.parametrize("name", ON_CUE)
def test_a_true_statement_without_a_cue_is_dropped(name: str) -> None:
    encoder = bert()
    pairs = radiology_pairs()[:4]
    made = corruption_named(name).prepared(pairs, encoder)
    affirmative = next(pair for pair in pairs if pair.negated == "false")
    with pytest.raises(AlignmentError, match="holds no cue") as caught:
        contrasts_of(made, affirmative, encoder)
    assert caught.value.code == "affirmative-clean"


def test_what_was_prepared_is_no_setting() -> None:
    with pytest.raises(TraceError, match="no setting 'means'; its settings are: none"):
        corruption_named("mean", {"means": None})
    with pytest.raises(TraceError, match="no setting 'words'; its settings are: samples, seed"):
        corruption_named("resample", {"words": None})
    with pytest.raises(TraceError, match="0 samples to resample; expected at least one"):
        corruption_named("resample", {"samples": 0})


@pytest.mark.parametrize("name", ["mean", "resample"])
def test_unprepared_is_refused(name: str) -> None:
    with pytest.raises(TraceError, match=f"{name} needs all pairs first; call prepared"):
        contrasts_of(corruption_named(name), PAIRS[0], clip())


def test_mask_puts_the_mask_token_on_every_token_of_the_cue() -> None:
    encoder, pair = bert(), long_cue()
    [contrast] = contrasts_of(Mask(), pair, encoder)
    masked = [i for i, token in enumerate(contrast.corrupt.ids) if token == encoder.mask_token_id]
    assert masked == [3, 4, 5]
    assert contrast.clean.ids[:3] == contrast.corrupt.ids[:3]
    assert contrast.clean.ids[6:] == contrast.corrupt.ids[6:]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in MASKED])
def test_mask_is_refused_where_there_is_no_mask_token(family: str) -> None:
    encoder = ENCODERS[family](torch.float32)
    with pytest.raises(TraceError, match=f"{encoder.name} has no mask token.*choose neutral"):
        trace(encoder, PAIRS[:2], corruption="mask", progress=False)


def test_zero_clears_the_cue_alone() -> None:
    [contrast] = contrasts_of(corruption_named("zero"), long_cue(), bert())
    hidden = torch.randn(len(contrast.clean.ids), 8)
    cleared = contrast.corrupt.edit(hidden)
    assert cleared.eq(0).all(dim=1).nonzero().flatten().tolist() == [3, 4, 5]
    assert torch.equal(cleared[[0, 1, 2, 6, 7]], hidden[[0, 1, 2, 6, 7]])


def test_mean_is_as_worked_out_by_hand() -> None:
    # Own polarity by position: no -1, some +1, others 0; the place is the position itself.
    # start no effusion end | start some effusion end | start there is no mass end | .. some ..
    pairs = [
        Pair(true="No effusion", false="Some effusion", anchor=Anchor(text="Clear.")),
        Pair(true="There is no mass", false="There is no", anchor=Anchor(text="Clear."),
             negated="true", cue=(9, 11)),
    ]  # fmt: skip
    encoder = ToyEncoder(torch.float64)
    [contrast] = contrasts_of(Mean().prepared(pairs, encoder), pairs[0], encoder)
    level = contrast.corrupt.edit(torch.full((4, 4), 9.0, dtype=torch.float64))
    assert level[1].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert level[[0, 2, 3]].eq(9).all()
    [contrast] = contrasts_of(Mean().prepared(pairs, encoder), pairs[1], encoder)
    level = contrast.corrupt.edit(torch.full((6, 4), 9.0, dtype=torch.float64))
    # Position 3 is reached by all four; two of them have `no` there.
    assert level[3].tolist() == [-0.5, 0.0, 0.0, 3.0]


def test_mean_at_a_position_is_over_the_statements_that_reach_it() -> None:
    # start no end | start some end | start there is no mass end | start there is some mass end
    pairs = [
        Pair(true="No", false="Some", anchor=Anchor(text="Clear."), negated="true", cue=(0, 2)),
        Pair(true="There is no mass", false="There is some mass", anchor=Anchor(text="Clear.")),
    ]
    encoder = ToyEncoder(torch.float64)
    [contrast] = contrasts_of(Mean().prepared(pairs, encoder), pairs[1], encoder)
    level = contrast.corrupt.edit(torch.full((6, 4), 9.0, dtype=torch.float64))
    # Position 3 is the cue; the two short statements end before it.
    assert level[3].tolist() == [0.0, 0.0, 0.0, 3.0]
    assert level[[0, 1, 2, 4, 5]].eq(9).all()


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)))
def test_what_is_prepared_depends_on_no_order(order: list[int]) -> None:
    encoder, pairs = ToyEncoder(), PAIRS[:6]
    encoder.tokenize([text for pair in pairs for text in (pair.true, pair.false)])
    turned = [pairs[i] for i in order]
    assert torch.equal(
        Mean().prepared(pairs, encoder).means, Mean().prepared(turned, encoder).means
    )
    drawn = [
        [contrast.corrupt.ids for contrast in contrasts_of(made, pairs[0], encoder)]
        for made in (Resample().prepared(pairs, encoder), Resample().prepared(turned, encoder))
    ]
    assert drawn[0] == drawn[1]


def test_mean_of_a_real_tower_does_not_depend_on_the_order_bit_for_bit() -> None:
    encoder = clip()
    means = [Mean().prepared(pairs, encoder).means for pairs in (PAIRS, PAIRS[::-1])]
    assert torch.equal(*means)


def test_mean_runs_the_tower_once_for_all_pairs() -> None:
    encoder, forwards = clip(), []
    handle = encoder.blocks[0].register_forward_hook(lambda *_: forwards.append(1))
    made = Mean().prepared(PAIRS, encoder)
    once = len(forwards)
    for pair in PAIRS:
        contrasts_of(made, pair, encoder)
    handle.remove()
    assert len(forwards) == once < 10


def test_mean_passes_over_what_the_tower_cannot_read() -> None:
    encoder = bert()
    long = Pair(
        true=f"There is no effusion{' and the heart' * 9}.",
        false=f"There is some effusion{' and the heart' * 9}.",
        anchor=Anchor(text="Clear."),
    )
    kept = Mean().prepared(PAIRS[:3], encoder).means
    assert torch.equal(Mean().prepared([long, *PAIRS[:3]], encoder).means, kept)
    with pytest.raises(TraceError, match="no statement of 1 pairs fits the 24 tokens of bert-mean"):
        Mean().prepared([long], encoder)
    lost = next(pair for pair in PAIRS if "pneumothorax" in pair.true)
    row = encoder.tokenize(["pneumothorax"])[0].ids[1]
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[row] = torch.nan
    assert Mean().prepared([lost, *PAIRS[:3]], encoder).means.isfinite().all()


def test_resample_draws_words_of_other_pairs_that_negate_nowhere() -> None:
    encoder, pair = clip(), long_cue()
    other = Pair(
        true="The heart is normal without effusion.",
        false="The heart is normal with effusion.",
        anchor=Anchor(text="Clear."),
    )
    made = Resample(samples=200).prepared([pair, other], encoder)
    contrasts = contrasts_of(made, pair, encoder)
    drawn = {token for contrast in contrasts for token in contrast.corrupt.ids[3:6]}
    [words] = encoder.tokenize(["the heart is normal effusion with ."])
    assert drawn == {*words.ids[1:-1]}
    assert {contrast.corrupt.ids[:3] for contrast in contrasts} == {contrasts[0].clean.ids[:3]}
    assert {contrast.corrupt.ids[6:] for contrast in contrasts} == {contrasts[0].clean.ids[6:]}
    assert len({contrast.corrupt.ids for contrast in contrasts}) > 50


def test_resample_has_a_seed_and_a_number_of_samples() -> None:
    encoder = clip()
    for seed, samples in ((0, 3), (1, 5)):
        made = Resample(samples=samples, seed=seed).prepared(PAIRS, encoder)
        ids = [[c.corrupt.ids for c in contrasts_of(made, pair, encoder)] for pair in PAIRS[:4]]
        assert {len(row) for row in ids} == {samples}
        again = Resample(samples=samples, seed=1 - seed).prepared(PAIRS, encoder)
        assert ids[0] != [c.corrupt.ids for c in contrasts_of(again, PAIRS[0], encoder)]


def test_resample_needs_other_pairs() -> None:
    with pytest.raises(TraceError, match="words from other pairs, and 1 was given; give at least"):
        Resample().prepared(PAIRS[:1], clip())
    bare = Pair(
        true="no", false="not", anchor=Anchor(text="Clear."), negated="true", cue=(0, 2), id="a"
    )
    same = Pair(
        true="not", false="no", anchor=Anchor(text="Clear."), negated="true", cue=(0, 3), id="b"
    )
    made = Resample().prepared([bare, same], clip())
    with pytest.raises(AlignmentError, match="no other pair holds a word") as caught:
        contrasts_of(made, bare, clip())
    assert caught.value.code == "nothing-to-draw"


@pytest.mark.parametrize("name", ON_CUE)
def test_every_corruption_traces(name: str) -> None:
    encoder = bert()
    made = corruption_named(name).prepared(PAIRS[:4], encoder)
    cte = trace(encoder, PAIRS[:4], corruption=made, progress=False)
    assert len(cte) == 4
    assert cte.provenance.config["corruption"] == made.settings()
    assert np.isfinite(cte.clean - cte.corrupt).all()
    assert (np.abs(cte.d) > 1e-6).all()


def test_samples_differ_between_corruptions_seeded_alike() -> None:
    encoder = clip()
    [one, other] = contrasts_of(Noise(samples=2), PAIRS[0], encoder)
    hidden = torch.ones(len(one.clean.ids), 32) + torch.arange(32)
    assert not torch.equal(one.corrupt.edit(hidden), other.corrupt.edit(hidden))


def test_the_page_names_every_corruption() -> None:
    own = [name for name in CORRUPTIONS if "negtrace." in str(CORRUPTIONS[name])]
    assert own
    page = PAGE.read_text("utf-8")
    assert all(f"| `{name}` |" in page for name in own)
