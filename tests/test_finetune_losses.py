"""The losses on numbers worked out by hand, and the content of batches."""

import math
from dataclasses import replace

import pytest
import torch
from claim_sets import claim_sets
from small_encoders import bert, clip

from negtrace.encoders.base import Encoder
from negtrace.errors import NegtraceWarning
from negtrace.pairs.anchor import Anchor
from negtrace.training.batches import examples_of
from negtrace.training.config import FinetuneConfig
from negtrace.training.losses import claim_loss, contrastive_loss, keeping_loss
from negtrace.training.objective import Objective
from negtrace.training.text_tables import can_be_filled

EYE = torch.eye(2)
NONE = torch.zeros(2, 2, dtype=torch.bool)


def test_the_contrastive_loss_is_symmetric_cross_entropy() -> None:
    expected = math.log(1 + math.exp(-3))
    assert contrastive_loss(EYE, 5 * EYE, NONE, 3.0).item() == pytest.approx(expected)
    captions = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    by_caption = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(3))) / 2
    by_anchor = math.log(2)  # both captions are the same, so an anchor cannot choose
    loss = contrastive_loss(captions, EYE, NONE, 3.0).item()
    assert loss == pytest.approx((by_caption + by_anchor) / 2)


def test_rows_can_be_left_out_as_negatives() -> None:
    no_negatives = torch.ones(2, 2, dtype=torch.bool)
    captions = EYE.clone().requires_grad_()
    loss = contrastive_loss(captions, EYE.flip(0), no_negatives, 3.0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(captions.grad, torch.zeros(2, 2))


def test_the_claim_loss_compares_the_right_claim_with_the_wrong_ones_of_its_row() -> None:
    claims = torch.tensor([[[1.0, 0], [0, 1.0], [1.0, 0]], [[0, 1.0], [1.0, 0], [9.0, 9.0]]])
    present = torch.tensor([[True, True, False], [True, True, False]])
    expected = math.log(1 + math.exp(-2))
    assert claim_loss(claims, EYE, present, 2.0).item() == pytest.approx(expected)


def test_the_keeping_loss_is_one_minus_the_cosine() -> None:
    assert keeping_loss(2 * EYE, EYE).item() == pytest.approx(0, abs=1e-6)
    assert keeping_loss(EYE, EYE.flip(0)).item() == pytest.approx(1)
    assert keeping_loss(EYE[:0], EYE[:0]).item() == 0


@pytest.mark.parametrize("step", [1, 4])
def test_a_batch_holds_the_embeddings_of_its_own_statements(step: int) -> None:
    encoder, sets = clip(), claim_sets(8)
    examples = examples_of(encoder, sets, joint=False, keep=True)
    examples = replace(examples, texts=replace(examples.texts, step=step))
    batch = examples.collate(examples.rows)
    with torch.no_grad():
        texts = torch.cat([encoder.encode(rows) for rows in batch.tokens])[batch.order]
        captions = encoder.embed_texts([one.caption for one in sets])
        wrong = encoder.embed_texts([one.wrong[1][1] for one in sets])
        anchors = encoder.embed_anchors([one.anchor for one in sets])
    torch.testing.assert_close(texts[batch.captions], captions)
    torch.testing.assert_close(texts[batch.claims[:, 2]], wrong)
    torch.testing.assert_close(batch.anchors, anchors)
    assert len(batch.kept) == 0  # every caption denies something


def test_statements_are_filled_up_only_where_that_changes_nothing() -> None:
    assert can_be_filled(clip())
    assert not can_be_filled(bert())
    assert examples_of(bert(), claim_sets(images=False), joint=False, keep=False).texts.step == 1


def test_affirmative_captions_are_kept() -> None:
    encoder = clip()
    sets = [*claim_sets(2), *claim_sets(2, caption="The lungs are clear.", id="other")]
    examples = examples_of(encoder, sets, joint=False, keep=True)
    batch = examples.collate(examples.rows)
    torch.testing.assert_close(batch.kept_embeddings, encoder.embed_texts(["The lungs are clear."]))
    assert batch.kept.tolist() == [int(batch.captions[2])]


def anchor_gradient(encoder: Encoder, *, joint: bool) -> torch.Tensor:
    sets = claim_sets(6, images=False)
    sets = [replace(each, anchor=Anchor(text=f"{each.anchor.text} mass")) for each in sets]
    examples = examples_of(encoder, sets, joint=joint, keep=False)
    named = dict(encoder.model.named_parameters())
    objective = Objective(encoder, named, FinetuneConfig())
    batch = examples.collate(examples.rows)
    objective(batch)["loss"].backward()
    return next(w.grad for name, w in named.items() if "word_embeddings" in name)


def test_text_anchors_take_gradients_only_if_joint() -> None:
    frozen, joint = (anchor_gradient(bert(), joint=joint) for joint in (False, True))
    _, dot, only_anchors, _ = bert().tokenize([". mass"])[0].ids
    assert frozen.abs().sum() > 0
    assert not torch.equal(frozen[dot], joint[dot])
    assert (frozen[only_anchors] == 0).all()
    assert (joint[only_anchors] != 0).any()


def test_anchors_are_embedded_by_the_original_model() -> None:
    encoder, sets = bert(), claim_sets(4, images=False)
    before = encoder.embed_anchors([one.anchor for one in sets])
    examples = examples_of(encoder, sets, joint=False, keep=False)
    torch.testing.assert_close(examples.anchors, before)
    assert not examples.anchors.requires_grad


def test_a_batch_of_identical_captions_gives_a_warning() -> None:
    sets = claim_sets(3, caption="The lungs are clear.")
    examples = examples_of(clip(), [*sets, *claim_sets(1)], joint=False, keep=False)
    with pytest.warns(NegtraceWarning, match="a batch of 3 identical captions"):
        batch = examples.collate(examples.rows[:3])
    losses = Objective(clip(), {}, FinetuneConfig())(batch)
    assert losses["contrastive"] == 0
    assert losses["claims"] > 0
