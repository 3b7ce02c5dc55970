"""Clips that are at hand make the study that the same clips make as files."""

import numpy as np
import pytest
import torch

import lrp3d
from lrp3d import study

VIDEOS = [lrp3d.video.draw_clip(frames=20, size=40, seed=seed) for seed in range(4)]
READER = study.Reader("", frames=8, size=32, short_side=36)


@pytest.fixture(scope="module")
def explainer():
    torch.manual_seed(0)
    model = lrp3d.models.i3d_resnet(18, num_classes=2, width=8).eval()
    return study.Explainer(model, input_range=model.input_range, mean=model.mean, std=model.std)


def matrices(explainer, clips, folder):
    made = study.create(folder, study.configuration(explainer, clips), clips.list)
    outcome = study.run(made, explainer, clips)
    assert (outcome.explained, outcome.failed) == (len(clips.list.items), 0)
    return [record.matrix for record in made.records()], [record.label for record in made.records()]


class Columns:
    """A dataset as Hugging Face's are: columns by name, rows by number; counts the clips it decodes."""

    column_names = ("video", "label")

    def __init__(self):
        self.features = {"label": type("ClassLabel", (), {"names": ["archery", "yoga"]})()}
        self.decoded = []

    def __len__(self):
        return len(VIDEOS)

    def __getitem__(self, key):
        if isinstance(key, str):
            assert key != "video", "a whole column of clips is decoded"
            return [number % 2 for number in range(len(self))]
        self.decoded.append(key)
        return {"video": Decoder(VIDEOS[key]), "label": key % 2}


class Decoder:
    """Frames (3, h, w) by number, as decoders of other libraries give them."""

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index].permute(2, 0, 1)


def files(folder):
    for number, frames in enumerate(VIDEOS):
        np.save(folder / f"{number}.npy", frames.numpy())
    return [(folder / f"{number}.npy", number % 2) for number in range(len(VIDEOS))]


SOURCES = {
    "paths": files,
    "arrays": lambda folder: [(frames.numpy(), number % 2) for number, frames in enumerate(VIDEOS)],
    "floats": lambda folder: [(frames / 255, torch.tensor(number % 2)) for number, frames in enumerate(VIDEOS)],
    "wide integers": lambda folder: [(frames.long(), number % 2) for number, frames in enumerate(VIDEOS)],
    "decoders": lambda folder: [(Decoder(frames), np.int64(n % 2)) for n, frames in enumerate(VIDEOS)],
    "mappings": lambda folder: [{"video": frames, "label": n % 2} for n, frames in enumerate(VIDEOS)],
    "a dataset with columns": lambda folder: Columns(),
    "bytes": lambda folder: [({"path": "x.npy", "bytes": path.read_bytes()}, label) for path, label in files(folder)],
    "lists of images": lambda folder: [(list(frames.numpy()), n % 2) for n, frames in enumerate(VIDEOS)],
}


@pytest.fixture(scope="module")
def expected(explainer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    files(folder)
    rows = [study.Row(f"{number}.npy", number % 2) for number in range(len(VIDEOS))]
    reader = study.Reader(folder, frames=8, size=32, short_side=36)
    made = study.create(folder / "out", study.configuration(explainer, reader), study.make_list(rows))
    study.run(made, explainer, reader)
    return [record.matrix for record in made.records()]


@pytest.mark.parametrize("source", SOURCES)
def test_clips_from_anywhere_have_the_matrices_of_their_files(source, explainer, expected, tmp_path):
    found, labels = matrices(explainer, study.Clips(SOURCES[source](tmp_path), READER), tmp_path / "out")
    assert labels == [0, 1, 0, 1]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_generator_is_gone_through_once_and_its_pixels_are_kept(explainer, expected, tmp_path):
    with pytest.raises(TypeError, match="keep="):
        study.Clips(iter([]), READER)
    pairs = ((frames, number % 2) for number, frames in enumerate(VIDEOS))
    clips = study.Clips(pairs, READER, keep=tmp_path / "kept")
    found, labels = matrices(explainer, clips, tmp_path / "out")
    assert next(pairs, None) is None
    assert labels == [0, 1, 0, 1]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_dataset_with_columns_decodes_a_clip_only_when_it_is_explained(explainer, tmp_path):
    dataset = Columns()
    clips = study.Clips(dataset, READER)
    assert dataset.decoded == []
    assert clips.list.labels == ("archery", "yoga")
    made = study.create(tmp_path, study.configuration(explainer, clips), clips.list)
    study.run(made, explainer, clips, study.Shard(1, 2))
    assert dataset.decoded == [1, 3]
    made.record_path(1).unlink()
    study.run(made, explainer, clips)
    assert dataset.decoded == [1, 3, 0, 1, 2]


def test_a_clip_that_cannot_be_read_is_noted_and_the_others_go_on(explainer, tmp_path):
    bad = torch.zeros(20, 3, 40, 40, dtype=torch.uint8)
    for clips in (
        study.Clips([(VIDEOS[0], 0), (bad, 1), ("nothing.mp4", 1)], READER),
        study.Clips(iter([(VIDEOS[0], 0), (bad, 1), ("nothing.mp4", 1)]), READER, keep=tmp_path / "kept"),
    ):
        out = tmp_path / str(id(clips))
        made = study.create(out, study.configuration(explainer, clips), clips.list)
        outcome = study.run(made, explainer, clips)
        assert (outcome.explained, outcome.failed) == (1, 2)
        reasons = " ".join(made.failures().values())
        assert "(20, 3, 40, 40)" in reasons
        assert "nothing.mp4" in reasons


def test_other_pixels_are_another_study(explainer, tmp_path):
    clips = study.Clips([(VIDEOS[0], 0)], READER)
    study.create(tmp_path, study.configuration(explainer, clips), clips.list)
    others = study.Clips([(VIDEOS[1], 0)], READER)
    with pytest.raises(study.StudyError, match="clips"):
        study.create(tmp_path, study.configuration(explainer, others), others.list)


@pytest.mark.parametrize(
    ("clips", "error", "word"),
    [
        ([VIDEOS[0]], TypeError, r"\(clip, label\)"),
        ([(VIDEOS[0], 0.5)], TypeError, "label of clip 0"),
        ([{"clip": VIDEOS[0]}], TypeError, "video="),
        ([(VIDEOS[0], 0, "a"), (VIDEOS[1], 1, "a")], ValueError, "two clips have the name a"),
        ([], ValueError, "empty"),
        ([(VIDEOS[0], -2)], ValueError, "class -2"),
        (type("Table", (Columns,), {"column_names": ("clip",)})(), ValueError, "columns clip"),
    ],
)
def test_what_is_no_clip_with_a_label_is_refused_with_what_is_expected(clips, error, word):
    with pytest.raises(error, match=word):
        study.Clips(clips, READER)


def test_names_that_only_the_alphabet_numbers_are_refused_where_they_are_not_all_classes(explainer, tmp_path):
    pairs = [(VIDEOS[number], name) for number, name in enumerate(("zebra", "bear", "ape"))]
    clips = study.Clips(pairs, READER)
    study.create(tmp_path, study.configuration(explainer, clips), clips.list)
    with pytest.raises(ValueError, match=r"names 3 classes \(ape, bear, zebra\), and the model has 2,"):
        study.run(study.load_study(tmp_path), explainer, clips)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(ValueError, match="names 3 classes"):
        study.Clips(pairs, READER, num_classes=2)


def test_a_video_in_memory_is_sampled_as_its_file_is(tmp_path):
    np.save(tmp_path / "v.npy", VIDEOS[0].numpy())
    options = {"frames": 4, "sampling": "dense", "stride": 7, "size": 32, "short_side": 36}
    with pytest.warns(lrp3d.video.LostFramesWarning, match="past the end"):
        read = lrp3d.video.read_clip(tmp_path / "v.npy", **options)
    with pytest.warns(lrp3d.video.LostFramesWarning, match="past the end"):
        sampled = lrp3d.video.sample_clip(VIDEOS[0], **options)
    assert torch.equal(read.tensor, sampled.tensor)
    assert read.indices.tolist() == sampled.indices.tolist()


@pytest.mark.parametrize("wrong", [3, torch.zeros(3, 8, 4, 4), [], [np.zeros((4, 4))], torch.full((2, 4, 4, 3), 2.0)])
def test_what_is_no_video_is_refused_in_a_sentence(wrong):
    with pytest.raises(lrp3d.video.VideoError):
        lrp3d.video.sample_clip(wrong, frames=2, size=None, short_side=None)
