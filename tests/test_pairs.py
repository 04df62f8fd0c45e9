"""Pairs and anchors: their fields, what they refuse, and JSONL files."""

import json
import os
import random
import string
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from negtrace.errors import NegtraceWarning, OutputError, PairError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.jsonl import read_pairs, write_pairs
from negtrace.pairs.pair import Pair, pairs_digest

CLEAR = Anchor(text="The lungs are clear.")
ROW = {"true": "There is no mass.", "false": "There is some mass.", "anchor": {"text": "Clear."}}


def pair(**changes: Any) -> Pair:
    return Pair(**{"true": ROW["true"], "false": ROW["false"], "anchor": CLEAR, **changes})


def pixels(value: int = 7, shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def test_optional_fields_are_filled_in() -> None:
    made = pair()
    assert (made.negated, made.cue, made.subject) == ("true", (9, 11), "mass")
    assert made.id == made.digest[:12]
    assert (made.negated_statement, made.affirmative_statement) == (made.true, made.false)
    turned = pair(true=made.false, false=made.true)
    assert (turned.negated, turned.negated_statement) == ("false", made.true)
    with pytest.raises(FrozenInstanceError):
        made.id = "other"


def test_a_pair_may_have_no_subject() -> None:
    assert pair(true="A mass? No.", false="A mass? Yes.").subject is None


def test_a_given_cue_decides_between_two() -> None:
    true, false = "No man is without a hat.", "Some man is without a hat."
    with pytest.raises(PairError, match="a cue in both"):
        pair(true=true, false=false)
    made = pair(true=true, false=false, negated="true", cue=(0, 2))
    assert made.subject == "man"
    assert pair(true="ne vache", false="vache", negated="true", cue=(0, 2)).subject is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"false": ROW["true"]}, r"are equal; they must differ by a negation"),
        ({"true": " "}, r"the true statement is blank; give it some words"),
        ({"false": ""}, r"the false statement is blank"),
        ({"true": "There is a mass."}, r"no cue of negation in 'There is a mass.' nor in .*reword"),
        ({"false": "Without a mass."}, r"a cue in both statements: 'no' in .* and 'Without' in"),
        ({"true": "No mass, no line."}, r"2 cues in one statement, 'No', 'no' in .*; keep one"),
        ({"negated": "true"}, r"only one of `negated` and `cue` is given; give both or neither"),
        ({"cue": (9, 11)}, r"only one of `negated` and `cue`"),
        ({"negated": "true", "cue": (9, 99)}, r"cue \(9, 99\) spans no word .* has 17 characters"),
        ({"negated": "true", "cue": (-1, 2)}, r"cue \(-1, 2\) spans no word"),
        ({"negated": "true", "cue": (4, 4)}, r"cue \(4, 4\) spans no word"),
        ({"negated": "true", "cue": (5, 6)}, r"cue \(5, 6\) spans no word"),
        ({"subject": "effusion"}, r"subject 'effusion' is not in the negated statement .*leave"),
        ({"subject": "no"}, r"subject 'no' is not in"),
        ({"subject": ""}, r"subject '' is not in"),
        ({"true": "There is no \ud800."}, r"the true statement holds half a character"),
    ],
)
def test_bad_statements_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PairError, match=message):
        pair(**changes)


def test_the_digest_depends_on_the_content_alone() -> None:
    made = pair()
    assert pair(id="a", tags={"b": "c"}, subject="mass").digest == made.digest
    others = [
        pair(true="There was no mass."),
        pair(false="There was some mass."),
        pair(true=made.false, false=made.true),
        pair(anchor=Anchor(text="Clear.")),
        pair(anchor=Anchor(image=pixels())),
        pair(negated="true", cue=(6, 11)),
    ]
    assert len({other.digest for other in [made, *others]}) == len(others) + 1
    # It must not change: results name their pairs by it.
    assert made.digest.startswith("21a6c999ce00598b")


def test_the_digest_of_pairs_ignores_their_order() -> None:
    pairs = [pair(true=f"There is no {word}.") for word in ("mass", "line", "tube")]
    shuffled = random.Random(0).sample(pairs, 3)  # noqa: S311
    assert pairs_digest(pairs) == pairs_digest(shuffled)
    assert pairs_digest(pairs) != pairs_digest(pairs[:2]) != pairs_digest([*pairs[:2], pairs[0]])


def test_tags_are_a_copy_and_pairs_hash() -> None:
    tags = {"finding": "mass"}
    made = pair(tags=tags)
    tags["finding"] = "line"
    assert made.tags == {"finding": "mass"}
    assert {made, pair(tags={"finding": "mass"})} == {made}
    assert made != pair()


class TestAnchor:
    def test_an_anchor_is_a_text_or_an_image(self) -> None:
        with pytest.raises(PairError, match="neither text nor image; give exactly one"):
            Anchor()
        with pytest.raises(PairError, match="both text and image; give exactly one"):
            Anchor(text="Clear.", image=pixels())
        with pytest.raises(PairError, match="anchor text is blank"):
            Anchor(text="")

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (pixels().astype(float), r"float64 and shape \(3, 4\); expected uint8"),
            (pixels(shape=(3, 4, 2)), r"uint8 and shape \(3, 4, 2\)"),
            (pixels(shape=(3,)), r"shape \(3,\)"),
            ("a.png", r"type str; expected a pathlib.Path"),
            (Image.new("F", (2, 2)), r"mode F has no fixed range; convert it"),
            (Image.fromarray(np.full((2, 2), -1, np.int32)), r"mode I has no fixed range"),
        ],
    )
    def test_unknown_kinds_of_image(self, image: Any, message: str) -> None:
        with pytest.raises(PairError, match=message):
            Anchor(image=image)

    def test_a_text_anchor_cannot_be_opened_as_an_image(self) -> None:
        with pytest.raises(PairError, match="only an image anchor can be opened"):
            CLEAR.open_image()
        with pytest.raises(PairError, match="only an image anchor can be saved"):
            CLEAR.png()

    def test_a_file_that_is_not_an_image_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "a.png"
        with pytest.raises(PairError, match=r"a.png cannot be read as an image .*give a PNG"):
            Anchor(image=file).open_image()
        file.write_text("no picture")
        with pytest.raises(PairError, match="cannot be read as an image"):
            pair(anchor=Anchor(image=file))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
    def test_the_same_pixels_are_the_same_anchor(self, mode: str, tmp_path: Path) -> None:
        image = Image.new(mode, (5, 3))
        anchor, file = Anchor(image=image), tmp_path / "a.png"
        file.write_bytes(anchor.png())
        again = Anchor(image=file)
        assert anchor == again
        assert hash(anchor) == hash(again)
        assert again.open_image().mode == "RGB"
        assert again.open_image().size == (5, 3)

    def test_sixteen_bits_become_eight(self) -> None:
        # 65535 / 257 = 255, so 32767 becomes 127; by 256 it would become 128.
        levels = np.array([[0, 257, 32767, 65535]], np.uint16)
        image = Anchor(image=Image.fromarray(levels)).open_image()
        assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 127, 255]

    def test_equality_depends_on_the_content(self) -> None:
        assert Anchor(image=pixels(1)) != Anchor(image=pixels(2))
        assert Anchor(image=pixels(shape=(2, 6))) != Anchor(image=pixels(shape=(6, 2)))
        assert Anchor(text="a") != "a"


words = st.text(string.ascii_letters + 'éß漢 .,\u2028\n"\\', min_size=1).filter(str.strip)
images = arrays(np.uint8, st.sampled_from([(2, 3), (2, 3, 3), (1, 2, 4)]))
noun = st.sampled_from(["mass", "left effusion", "naïve cell"])
contents = st.fixed_dictionaries(
    {
        "statements": noun.flatmap(lambda n: st.permutations([f"No {n}.", f"Some {n}."])),
        "anchor": words.map(lambda text: {"text": text}) | images.map(lambda i: {"image": i}),
        "id": st.text(string.printable, max_size=5),
        "tags": st.dictionaries(words, words, max_size=2),
    }
)


def made_of(content: dict[str, Any]) -> Pair:
    (true, false), anchor = content.pop("statements"), Anchor(**content.pop("anchor"))
    return Pair(true=true, false=false, anchor=anchor, **content)


@settings(deadline=None)
@given(st.lists(contents, min_size=1, max_size=4, unique_by=lambda content: content["id"]))
def test_pairs_are_the_same_after_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, contents: list[dict[str, Any]]
) -> None:
    pairs = [made_of(dict(content)) for content in contents]
    path = tmp_path_factory.mktemp("trip") / "pairs.jsonl"
    write_pairs(pairs, path)
    again = read_pairs(path)
    assert again == pairs
    assert pairs_digest(again) == pairs_digest(pairs)
    before = path.read_bytes()
    write_pairs(again, path)
    assert path.read_bytes() == before


def test_image_files_are_not_copied(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "out").mkdir()
    image = tmp_path / "scans" / "a.png"
    Image.new("L", (2, 2)).save(image)
    path = tmp_path / "out" / "pairs.jsonl"
    write_pairs([pair(anchor=Anchor(image=image))], path)
    assert json.loads(path.read_text())["anchor"] == {"image": "../scans/a.png"}
    assert os.listdir(path.parent) == ["pairs.jsonl"]  # noqa: PTH208
    assert read_pairs(path)[0].anchor.image.samefile(image)


def test_images_in_memory_become_files(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs([pair(anchor=Anchor(image=pixels()))], str(path))
    [image] = (tmp_path / "pairs_images").iterdir()
    assert json.loads(path.read_text())["anchor"] == {"image": f"pairs_images/{image.name}"}
    assert np.array_equal(np.asarray(Image.open(image)), pixels())


def test_the_old_file_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("what was there")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"cannot write .*pairs.jsonl: No space left"):
        write_pairs([pair()], path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ("pairs.jsonl", "what was there")
    ]


def test_pairs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*pairs.jsonl"):
        write_pairs([pair()], tmp_path / "file" / "pairs.jsonl")
    with pytest.raises(PairError, match=r"0 pairs cannot be written: there is none"):
        write_pairs([], tmp_path / "pairs.jsonl")
    with pytest.raises(PairError, match=r"2 pairs cannot be written: an id occurs twice"):
        write_pairs([pair(), pair()], tmp_path / "pairs.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"not JSON \(.*\); write one object a line"),
        ("[" * 100_000, r"not JSON"),
        ("[]", r"a JSON list; expected an object with true, false, anchor"),
        ({"true": "No mass."}, r"missing 'false', 'anchor'; a pair needs true, false, anchor"),
        ({**ROW, "trues": "x"}, r"unknown key 'trues'; did you mean 'true'\?"),
        ({**ROW, "x": "x"}, r"unknown key 'x'; known: true, false, anchor, id"),
        ({**ROW, "true": 3}, r"the value of 'true' is 3; expected a text"),
        ({**ROW, "anchor": "Clear."}, r"value of 'anchor' is 'Clear.'; expected \{\"text\""),
        ({**ROW, "anchor": {"txt": "a"}}, r"unknown key 'txt'; did you mean 'text'\?"),
        ({**ROW, "anchor": {}}, r"neither text nor image"),
        (
            {**ROW, "anchor": {"text": "a", "image": "b.png"}},
            r"no image file at .*b.png; paths are",
        ),
        ({**ROW, "negated": "both", "cue": [0, 1]}, r"'negated' is 'both'; expected \"true\" or"),
        ({**ROW, "negated": "true", "cue": [0]}, r"'cue' is \[0\]; expected \[start, end\]"),
        ({**ROW, "negated": "true", "cue": [0, True]}, r"'cue' is \[0, True\]"),
        ({**ROW, "tags": {"a": 1}}, r"'tags' is \{'a': 1\}; expected an object of texts"),
        ({**ROW, "id": None}, r"'id' is None; expected a text"),
        ({**ROW, "subject": "x"}, r"the subject 'x' is not in"),
        ({**ROW, "id": "first"}, r"the id 'first' occurs before; make each id unique"),
        (b"\xff{}", r"not UTF-8 at byte 0; save the file as UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_can_be_skipped(
    line: str | bytes | dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    text = json.dumps(line) if isinstance(line, dict) else line
    good = json.dumps({**ROW, "id": "first"})
    bad = text.encode() if isinstance(text, str) else text
    path.write_bytes(b"\n".join([good.encode(), b"", bad, json.dumps(ROW).encode()]))
    with pytest.raises(PairError, match=rf"pairs.jsonl, line 3: .*{message}"):
        read_pairs(path)
    with pytest.warns(NegtraceWarning, match=rf"1 of 3 lines skipped\n.*line 3: .*{message}"):
        assert next(pair.id for pair in read_pairs(path, "skip")) == "first"
    path.write_bytes(bad.replace(b'"first"', b'""'))
    if line != {**ROW, "id": "first"}:
        with pytest.raises(PairError, match=rf"holds no usable pair; .*line 1: .*{message}"):
            read_pairs(path, "skip")


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join([*["{"] * 9, json.dumps(ROW)]))
    with pytest.warns(NegtraceWarning, match=r"9 of 10 lines skipped") as caught:
        assert len(read_pairs(path, on_error="skip")) == 1
    assert str(caught[0].message).count("not JSON") == 3
    assert str(caught[0].message).endswith("...")


def test_files_without_pairs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(PairError, match=r"pairs.jsonl cannot be read \(No such file"):
        read_pairs(path)
    with pytest.raises(PairError, match=r"cannot be read \(Is a directory\)"):
        read_pairs(tmp_path)
    path.write_text("\n \n")
    with pytest.raises(PairError, match=r"holds no usable pair; expected one JSON object a line"):
        read_pairs(path)


def test_a_file_keeps_letters_beyond_ascii(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs([pair(true="No naïve cell.", false="Some naïve cell.")], path)
    assert "No naïve cell." in path.read_text("utf-8")


def test_a_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n")
    assert len(read_pairs(path)) == 1


def test_an_image_that_is_too_large_or_of_another_format_is_refused(tmp_path: Path) -> None:
    large, other, cut = (tmp_path / name for name in ("large.png", "drawing.png", "cut.png"))
    Image.new("1", (20_000, 20_000)).save(large)
    Image.new("L", (8, 8)).save(other, format="EPS")
    Image.new("L", (64, 64)).save(cut)
    cut.write_bytes(cut.read_bytes()[:50])
    with pytest.raises(PairError, match=r"large\.png is too large an image .*; make it smaller"):
        Anchor(image=large).open_image()
    for file in (other, cut):
        with pytest.raises(PairError, match=rf"{file.name} cannot be read as an image"):
            Anchor(image=file).open_image()
