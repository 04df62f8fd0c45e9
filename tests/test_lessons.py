"""Lessons without labels: their targets, their loss, and what a model has learned from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from claim_sets import claim_sets, ones, quick, same, weights
from language_models import LANGUAGES
from small_encoders import bert, clip
from torch.nn.functional import normalize

import negtrace
from negtrace import Anchor
from negtrace.cli import main
from negtrace.correction import Projection, Reflection
from negtrace.errors import EncoderError, FinetuneError, NegtraceWarning
from negtrace.experiments import selective_finetune
from negtrace.language import find_cues
from negtrace.language.complements import Complement
from negtrace.training import FinetuneConfig, Material, finding_texts
from negtrace.training.lessons import corrected_targets, kept_texts, lessons_of, paired_targets
from negtrace.training.losses import teaching_loss
from negtrace.training.material import rows_of
from negtrace.training.objective import Objective
from negtrace.training.texts import TEXTS, training_texts

DENYING = ["There is no effusion.", "The chest is without edema and nodule."]
KEPT = ["There is some effusion.", "The nodule is seen."]
PAIRS = [("There is no effusion.", "The chest is clear."), ("There is no edema.", "Clear.")]
COMPLEMENTS = [
    Complement(denial=d, complement=c, affirmed=KEPT[0], opposite=KEPT[0], group=d, domain="own")
    for d, c in PAIRS
]


@pytest.mark.parametrize("correction", [Reflection(), Projection(strength=0.3)])
def test_a_denial_is_to_get_the_embedding_of_the_corrected_model(correction: Any) -> None:
    encoder = clip()
    targets = corrected_targets(encoder, [*DENYING, *KEPT], correction)
    expected = negtrace.corrected(encoder, correction).embed_texts(DENYING)
    assert list(targets) == DENYING
    torch.testing.assert_close(torch.stack(list(targets.values())), expected)


def test_a_denial_is_to_get_the_embedding_of_what_says_the_same() -> None:
    encoder = clip()
    targets = paired_targets(encoder, PAIRS)
    expected = encoder.embed_texts([text for _, text in PAIRS])
    torch.testing.assert_close(torch.stack(list(targets.values())), expected)


def test_what_affirms_keeps_its_embedding() -> None:
    encoder, config = clip(), FinetuneConfig(objective="reflection")
    rows = rows_of(encoder, Material(texts=[*DENYING, *KEPT]), config)
    batch = rows.collate([rows[index] for index in range(len(rows))])
    texts = torch.cat([encoder.encode(table) for table in batch.tokens])[batch.order]
    kept = ~batch.denying
    assert kept.sum() == len(kept_texts([*DENYING, *KEPT]))
    torch.testing.assert_close(normalize(texts[kept], dim=-1), batch.targets[kept])
    terms = Objective(encoder, {}, FinetuneConfig(objective="reflection"))(lessons=batch)
    assert terms["staying"].item() == pytest.approx(0, abs=1e-6)
    cosines = (normalize(texts, dim=-1) * batch.targets).sum(dim=-1)[batch.denying]
    assert terms["teaching"].item() == pytest.approx(1 - cosines.mean().item(), abs=1e-6)
    assert terms["loss"].item() == pytest.approx(10 * terms["teaching"].item(), abs=1e-5)


def test_kept_texts_have_no_cue() -> None:
    kept = kept_texts(finding_texts(200))
    assert len(kept) > 200
    assert not any(map(find_cues, kept))
    assert kept_texts(["No."]) == []  # denies, but nothing that could be affirmed


def test_images_compare_scores_instead_of_embeddings() -> None:
    now, targets = torch.randn(5, 8), normalize(torch.randn(5, 8), dim=-1)
    images = normalize(torch.randn(7, 8), dim=-1)
    off = (normalize(now, dim=-1) @ images.T - targets @ images.T).numpy()
    assert teaching_loss(now, targets, images).item() == pytest.approx(4 * np.mean(off**2))
    axes = torch.cat([torch.eye(8), -torch.eye(8)])  # evenly into all directions
    plain = teaching_loss(now, targets, images[:0])
    torch.testing.assert_close(teaching_loss(now, targets, axes), plain)
    assert teaching_loss(now[:0], targets[:0], images) == 0


def test_a_model_learns_to_deny_what_it_is_taught_and_keeps_the_rest() -> None:
    encoder, before = negtrace.load("phantom"), negtrace.load("phantom")
    texts = finding_texts(300, findings=("effusion", "edema", "pneumothorax"))
    unseen, kept = ["We see a chest without pneumothorax."], ["There is a pneumothorax."]
    result = selective_finetune(
        encoder, texts=texts, objective="reflection", steps=30, batch=12, rate=3e-3
    )
    target = negtrace.corrected(before).embed_texts(unseen)

    def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
        return torch.cosine_similarity(one, other).item()

    was, now = (cosine(model.embed_texts(unseen), target) for model in (before, encoder))
    assert now > was + 0.05
    assert cosine(encoder.embed_texts(kept), before.embed_texts(kept)) > 0.9
    assert result.losses[-1]["teaching"] < result.losses[0]["teaching"] / 2
    assert set(result.multipliers.values()) == {1.0}


@pytest.mark.parametrize("objective", ["both", "claims+projection", "claims+complements"])
def test_claims_and_lessons_are_trained_on_together(objective: str) -> None:
    encoder = clip()
    config = quick(objective=objective)
    material = Material(sets=claim_sets(), texts=[*DENYING, *KEPT], complements=COMPLEMENTS)
    rows = rows_of(encoder, material, config)
    assert len(rows) == 12
    terms = Objective(encoder, {}, config)(**rows.inputs([rows[k] for k in range(6)]))
    wanted = 0.5 * terms["contrastive"] + 0.5 * terms["claims"]
    wanted += 10 * terms["teaching"] + 10 * terms["staying"]
    torch.testing.assert_close(terms["loss"], wanted)


def test_equal_calls_train_equally_and_another_seed_does_not() -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        encoder = clip()
        config = quick(objective="both", seed=seed)
        selective_finetune(encoder, claim_sets(), texts=[*DENYING, *KEPT], config=config)
        return weights(encoder)

    assert same(trained(0), trained(0))
    assert not same(trained(0), trained(1))


def test_a_report_file_gives_its_sentences(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    file.write_text('id,report\n1,"No effusion. The heart is enlarged."\n2,No effusion.\n')
    assert training_texts(file) == ["No effusion.", "The heart is enlarged."]
    many = tmp_path / "many.csv"
    many.write_text("report\n" + "\n".join(f"No nodule of {n} mm." for n in range(TEXTS + 9)))
    assert len(training_texts(many)) == TEXTS


def test_the_command_teaches_without_labels_and_writes_no_text(tmp_path: Path) -> None:
    file, out = tmp_path / "reports.csv", tmp_path / "run"
    file.write_text("report\n" + "\n".join(f"No zebra of {n} mm." for n in range(8)))
    options = ["--objective", "reflection", "--steps", "2", "--batch", "4", "--count", "0"]
    assert main(["finetune", "phantom", *options, "--texts", str(file), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["run"]["data"]["texts"]["count"] == 8
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"zebra of" not in written


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "reflect"}, "objective is 'reflect'; expected one of claims, reflection"),
        ({"objective": "both+claims"}, "expected one of .* each once"),
        ({"objective": "reflection+projection"}, "one of reflection and projection at most"),
        ({"strength": 0.5}, "strength is 0.5; expected none, because no correction is taught"),
        ({"objective": "reflection", "strength": -1.0}, "expected 0 or more"),
        ({"objective": "reflection", "teach": 0.0}, "teach is 0.0; expected more than 0"),
        ({"objective": "reflection", "stay": -1.0}, "stay is -1.0; expected 0 or more"),
    ],
)
def test_settings_that_cannot_hold_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FinetuneError, match=message):
        FinetuneConfig(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["Effusion."]}, "none of the 1 texts denies anything, so there is nothing"),
        ({"texts": ["No."]}, "none of the 1 texts denies anything"),
        ({"texts": []}, "there is no training text"),
        ({"texts": "nowhere.csv"}, "no training texts 'nowhere.csv': it is neither a file nor"),
        ({"data": claim_sets()}, "trains on no claim sets; leave `data` out, or add them"),
        ({"objective": "both"}, "needs claim sets; give them as `data`"),
        ({"objective": "claims", "data": claim_sets()}, "no layer scores; give them"),
        (
            {"objective": "claims", "data": claim_sets(), "scores": ones(clip()), "texts": DENYING},
            "texts and images are for corrections that are taught",
        ),
        ({"complements": COMPLEMENTS}, "complements are for the objective 'complements', not"),
        ({"images": "nowhere"}, "nowhere holds no image"),
    ],
)
def test_material_that_cannot_be_used_is_refused(arguments: dict[str, Any], message: str) -> None:
    encoder = clip()
    before = weights(encoder)
    with pytest.raises(FinetuneError, match=message):
        selective_finetune(encoder, **{"texts": DENYING, "objective": "reflection"} | arguments)
    assert same(before, weights(encoder))


def test_models_that_cannot_learn_from_lessons_are_refused() -> None:
    pixels = Anchor(image=np.zeros((32, 32), np.uint8))
    with pytest.raises(FinetuneError, match="sees no images; leave the images out"):
        selective_finetune(bert(), texts=DENYING, images=[pixels], objective="reflection")
    with pytest.raises(EncoderError, match="reads a statement together with its anchor"):
        corrected_targets(LANGUAGES["gpt2"](torch.float32), DENYING, Reflection())


def test_texts_that_are_too_long_are_left_out() -> None:
    encoder = clip()
    long = f"There is no effusion {'.' * encoder.max_tokens}"
    with pytest.warns(NegtraceWarning, match="1 of 3 training texts are longer than the"):
        targets = corrected_targets(encoder, [*DENYING, long], Reflection())
    assert list(targets) == DENYING


def test_lessons_of_one_kind_alone_can_be_drawn() -> None:
    rows = lessons_of(clip(), corrected_targets(clip(), DENYING, Reflection()), [])
    assert len(rows) == 2
    assert rows.collate([rows[0], rows[1]]).denying.all()
