"""The phantom: films show what the claims say, and the bundled checkpoint can be made again."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from negtrace.errors import UnknownNameError
from negtrace.experiments.train_phantom.measure import measure_phantom
from negtrace.experiments.train_phantom.model import WINDOWS, locality, pixels
from negtrace.experiments.train_phantom.train import Recipe, make_checkpoint
from negtrace.experiments.train_phantom.vision_pretraining import labels
from negtrace.experiments.train_phantom.weights import checkpoint_digest
from negtrace.language.claims import SEVERITIES, ZONES, Claim, Side
from negtrace.language.findings import FINDINGS
from negtrace.phantom import CHECKPOINT
from negtrace.phantom.contrasts import draw_contrasts
from negtrace.phantom.patients import (
    HELD_OUT_SEEDS,
    PHANTOM_FINDINGS,
    TRAIN_SEEDS,
    Patient,
    draw_patient,
    radiographs,
)
from negtrace.phantom.radiograph import render
from negtrace.phantom.reports import report

SIDED = [finding for finding in PHANTOM_FINDINGS if "side" in FINDINGS[finding].attributes]


def change(claim: Claim, seed: int = 3, size: int = 96) -> np.ndarray:
    """Return the absolute difference of each pixel from the same patient's healthy film."""
    film = render([claim], seed=seed, size=size).astype(float)
    return np.abs(film - render([], seed=seed, size=size).astype(float))


def test_a_film_depends_on_the_seed() -> None:
    patient = draw_patient(5)
    assert patient == draw_patient(5)
    assert patient.image().dtype == np.uint8
    assert np.array_equal(patient.image(), patient.image())
    assert not np.array_equal(draw_patient(5).image(), draw_patient(6).image())


def test_films_do_not_depend_on_the_number_of_processes() -> None:
    patients = [draw_patient(seed) for seed in range(520)]
    assert np.array_equal(radiographs(patients, workers=2)[::130], radiographs(patients[::130]))


def test_a_larger_film_shows_the_same_patient() -> None:
    small, large = (draw_patient(11).image(size).astype(float) for size in (48, 192))
    shrunk = large.reshape(48, 4, 48, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("finding", PHANTOM_FINDINGS)
def test_every_sign_is_visible(finding: str) -> None:
    changes = [change(Claim(finding=finding, present=True), seed, 48).max() for seed in range(5)]
    assert min(changes) > 20


@pytest.mark.parametrize("finding", PHANTOM_FINDINGS)
def test_absent_findings_leave_no_sign(finding: str) -> None:
    assert change(Claim(finding=finding, present=False)).max() == 0


@pytest.mark.parametrize("side", ["left", "right", "bilateral"])
@pytest.mark.parametrize("finding", SIDED)
def test_signs_are_on_the_stated_side(finding: str, side: Side) -> None:
    for seed in range(4):
        difference = change(Claim(finding=finding, present=True, side=side), seed)
        # The patient's left is at the right of the film; a lead may cross the midline.
        right, left = difference[:, :44].sum(), difference[:, 52:].sum()
        share = left / (left + right)
        low, high = {"left": (0.8, 1), "right": (0, 0.2), "bilateral": (0.2, 0.8)}[side]
        assert low <= share <= high, (finding, side, seed, share)


@pytest.mark.parametrize("finding", ["nodule", "consolidation"])
def test_zones_are_in_order(finding: str) -> None:
    rows = np.arange(96)
    heights = []
    for zone in ZONES:
        film = change(Claim(finding=finding, present=True, side="left", zone=zone))
        heights.append((film.sum(1) * rows).sum() / film.sum())
    assert heights == sorted(heights)


@pytest.mark.parametrize("finding", [f for f in PHANTOM_FINDINGS if f != "device"])
def test_larger_signs_change_more_of_the_film(finding: str) -> None:
    claims = [Claim(finding=finding, present=True, severity=severity) for severity in SEVERITIES]
    sizes = [change(claim).sum() for claim in claims]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.2 * sizes[0]


def test_findings_without_a_sign_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no radiographic sign for \['fracture'\]"):
        render([Claim(finding="fracture", present=True)], seed=0)


def test_training_and_held_out_patients_are_disjoint() -> None:
    assert not set(TRAIN_SEEDS[:5000]) & set(HELD_OUT_SEEDS)
    seeds = {contrast.patient.seed for contrast in draw_contrasts(50, seed=0)}
    assert all(seed in HELD_OUT_SEEDS and seed not in TRAIN_SEEDS for seed in seeds)


def test_a_patient_has_a_valid_claim_on_every_finding() -> None:
    for seed in range(200):
        patient = draw_patient(seed)
        assert tuple(claim.finding for claim in patient.claims) == PHANTOM_FINDINGS
        for claim in patient.claims:
            stated = {name for name in ("side", "zone", "severity") if getattr(claim, name)}
            assert stated <= set(FINDINGS[claim.finding].attributes)
            assert claim.present or not stated


def test_reports_deny_findings_at_the_given_rate() -> None:
    denial = re.compile(r"\b(no|without|absent|negative)\b", re.IGNORECASE)
    for seed in range(300):
        patient = draw_patient(seed)
        assert not denial.search(report(patient, seed=seed, rate=0.0))
    denying = [report(draw_patient(seed), seed=seed, rate=1.0) for seed in range(100)]
    assert sum(bool(denial.search(text)) for text in denying) > 90


def test_reports_without_denials_name_no_absent_finding() -> None:
    for seed in range(300):
        patient = draw_patient(seed)
        text = report(patient, seed=seed, rate=0.0).lower()
        for claim in patient.absent:
            assert FINDINGS[claim.finding].term not in text


def test_contrasts_are_twins_about_the_claim() -> None:
    made = draw_contrasts(140, seed=1)
    assert made == draw_contrasts(140, seed=1)
    assert sum(contrast.claim.present for contrast in made) == 70
    assert {contrast.claim.finding for contrast in made} == set(PHANTOM_FINDINGS)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    for contrast in made:
        assert contrast.claim in contrast.patient.claims
        true, false = tokenizer(contrast.true).input_ids, tokenizer(contrast.false).input_ids
        assert len(true) == len(false)
        assert sum(a != b for a, b in zip(true, false, strict=True)) == 1
        cued = re.search(r"\b(no|without|absent)\b", contrast.true.lower()) is not None
        assert cued != contrast.claim.present


def test_findings_and_templates_of_contrasts_take_turns() -> None:
    contrasts = draw_contrasts(14, seed=0)
    findings = [contrast.claim.finding for contrast in contrasts]
    # A finding is there, then absent; then comes the next one.
    assert findings[::2] == findings[1::2]
    assert set(findings) == set(PHANTOM_FINDINGS)
    many = draw_contrasts(70, seed=0)
    assert len({(each.claim.finding, each.template) for each in many}) == 35


def test_locality_penalizes_attention_beyond_the_window() -> None:
    mask = torch.ones(1, 6, dtype=torch.long)
    near = torch.eye(6)[None, None]
    far = near.clone()
    far[..., 5, :] = torch.eye(6)[2]
    assert locality([near] * 8, mask) == 0
    reach = sum(window < 3 for window in WINDOWS)
    # One query of six looks three tokens back. It is the end token, so it counts twice.
    assert locality([far] * 8, mask) == pytest.approx(reach / 6 + reach)


def test_labels_of_a_patient_for_vision_pretraining() -> None:
    claims = (
        Claim(finding="effusion", present=True, side="bilateral", severity="small"),
        Claim(finding="nodule", present=True, side="right", zone="upper", severity="large"),
        Claim(finding="device", present=True, side="left"),
        Claim(finding="consolidation", present=False),
        Claim(finding="edema", present=True, severity="moderate"),
    )
    # Present, left, right, upper, lower, small, large.
    expected = [
        *(1, 1, 1, 0, 0, 1, 0),
        *(1, 0, 1, 1, 0, 0, 1),
        *(1, 1, 0, 0, 0, 0, 0),
        *(0, 0, 0, 0, 0, 0, 0),
        *(1, 0, 0, 0, 0, 0, 0),
    ]
    assert labels(Patient(seed=0, claims=claims)) == expected


def test_importing_the_phantom_is_light() -> None:
    code = (
        "import sys, negtrace.phantom, negtrace.phantom.contrasts\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'negtrace.pairs'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603


def test_a_short_training_repeats_bit_for_bit(tmp_path: Path) -> None:
    recipe = Recipe(seed=1, steps=3, vision_steps=2, patients=40, batch=8)
    for name in ("first", "again"):
        make_checkpoint(recipe, tmp_path / name, questions=4, candidates=10)
    assert checkpoint_digest(tmp_path / "first") == checkpoint_digest(tmp_path / "again")
    first, again = (
        json.loads((tmp_path / n / "training.json").read_text()) for n in ("first", "again")
    )
    assert first["held_out"] == again["held_out"]
    assert not torch.are_deterministic_algorithms_enabled()
    other = Recipe(seed=2, steps=3, vision_steps=2, patients=40, batch=8)
    make_checkpoint(other, tmp_path / "other", questions=4, candidates=10)
    assert checkpoint_digest(tmp_path / "other") != checkpoint_digest(tmp_path / "first")


def test_the_bundled_figures_are_measured_again() -> None:
    record = json.loads((CHECKPOINT / "training.json").read_text("utf-8"))
    held_out = record["held_out"]
    assert held_out["affirmative"] >= 0.85
    assert 0.08 <= held_out["gap"] <= 0.40
    assert held_out["image_to_text"]["R@5"] > 10 * held_out["recall_chance"]["R@5"]
    assert record["sha256"] == checkpoint_digest(CHECKPOINT)
    measured = asdict(measure_phantom(CHECKPOINT))
    assert measured.keys() == held_out.keys()
    for name, value in measured.items():
        assert value == pytest.approx(held_out[name], abs=0.01), name


def test_bundled_weights_are_small_and_load_everywhere() -> None:
    assert (CHECKPOINT / "model.safetensors").stat().st_size < 6_000_000
    model = CLIPModel.from_pretrained(CHECKPOINT)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert model.config.text_config.num_hidden_layers >= 8
    assert model.config.text_config.eos_token_id not in (None, 2)


def test_bundled_tokenizer_keeps_clinical_words_whole() -> None:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    words = {"no", "some", "with", "without", "present", "absent"}
    words |= {word for finding in FINDINGS.values() for word in finding.term.split()}
    assert all(len(tokenizer.tokenize(word)) == 1 for word in words)
    text = "No Ümlaut, keine Ergüsse 🫁?"
    coded = tokenizer(text, return_offsets_mapping=True)
    assert coded.input_ids[0] == tokenizer.bos_token_id
    assert coded.input_ids[-1] == tokenizer.eos_token_id
    assert coded.offset_mapping[1] == (0, 2)
    assert tokenizer.decode(coded.input_ids, skip_special_tokens=True).strip() == text.lower()


def test_bundled_image_processor_sees_what_the_training_saw() -> None:
    film = draw_patient(HELD_OUT_SEEDS[0]).image()
    processor = AutoImageProcessor.from_pretrained(CHECKPOINT)
    seen = processor(images=Image.fromarray(film), return_tensors="pt")["pixel_values"]
    assert torch.allclose(seen, pixels(film[None]), atol=1e-6)
