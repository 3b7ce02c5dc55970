"""A whole video is its windows, stitched together: each row where it stands most central."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from videos import encode, numbered_frames

import lrp3d
from lrp3d.video import VideoError, draw_clip, files, read_clip
from lrp3d.whole_video import explaining
from lrp3d.whole_video.windows import windows

HOW = {"frames": 4, "size": 24, "short_side": 24}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return lrp3d.models.i3d_resnet(18, num_classes=3, width=4).eval()


@pytest.fixture
def video(tmp_path):
    def make(frames, name="long.npy"):
        np.save(tmp_path / name, draw_clip(frames, 24, seed=1).numpy())
        return tmp_path / name

    return make


class Strided(nn.Module):
    """Two frames make one row."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 3, (2, 4, 4), 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((3, 4)).transpose(1, 2)).mean(1)


def test_rows_at_a_layer_are_those_of_the_windows_in_which_they_stand_most_central(model, video):
    how = HOW | {"rows_at": "features.layer2"}
    found = lrp3d.explain_video(model, video(8), 1, stride=2, **how)
    assert found.rows_at == "features.layer2"
    clip = read_clip(video(8), 8, size=24, short_side=24, mean=model.mean, std=model.std).tensor
    for place in windows(8, 4, 2, 1):
        window = clip[:, :, place.start : place.start + 4]
        alone = lrp3d.explain(model, window, 1, rows_at="features.layer2", input_range=model.input_range)
        for row in range(place.rows.start, place.rows.stop):
            torch.testing.assert_close(found.band[row], alone.matrix[0, row - place.start])
            torch.testing.assert_close(found.frame_logits[row], alone.frame_logits[0, row - place.start])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_each_row_has_the_window_in_which_it_stands_most_central(data):
    step = data.draw(st.sampled_from([1, 2, 4]))
    length = step * data.draw(st.integers(1, 6))
    stride = step * data.draw(st.integers(1, length // step))
    frames = length + step * data.draw(st.integers(0, 12))
    places = windows(frames, length, stride, step)
    assert places[0].start == 0
    assert places[-1].start == frames - length
    for row in range(frames // step):
        middle = (row + 0.5) * step
        off_centre = [
            abs(middle - place.start - length / 2) if place.start <= row * step <= place.start + length - step else 1e9
            for place in places
        ]
        assert [row in place.rows for place in places] == [i == int(np.argmin(off_centre)) for i in range(len(places))]


@pytest.mark.parametrize("contrastive", [True, False])
def test_a_video_of_one_window_is_explained_as_the_clip_that_it_is(model, video, contrastive):
    path = video(4)
    found = lrp3d.explain_video(model, path, contrastive=contrastive, **HOW)
    clip = read_clip(path, 4, "dense", size=24, short_side=24, mean=model.mean, std=model.std)
    alone = lrp3d.explain(model, clip.tensor, contrastive=contrastive)
    assert found.matrix.equal(alone.matrix[0])
    assert found.atr.equal(alone.atr[0])
    assert found.frame_logits.equal(alone.frame_logits[0])
    assert found.target.tolist() == alone.target.tolist() * 4
    assert found.avg_atr == pytest.approx(float(alone.avg_atr[0]))


def test_every_row_is_that_of_its_window(model, video):
    path = video(11)
    found = lrp3d.explain_video(model, path, 1, stride=2, **HOW)
    assert found.band.shape == (11, 4)
    pixels = read_clip(path, 11, "dense", size=24, short_side=24, mean=model.mean, std=model.std).tensor
    for place in windows(11, 4, 2):
        alone = lrp3d.explain(model, pixels[:, :, place.start : place.start + 4], 1)
        for row in place.rows:
            torch.testing.assert_close(found.band[row], alone.matrix[0, row - place.start])
            assert found.first[row] == place.start
    torch.testing.assert_close(found.matrix.sum(1), found.frame_logits)
    torch.testing.assert_close(found.matrix.sum(0), found.relevance)
    assert found.indices.tolist() == list(range(11))


def test_rows_of_several_frames_and_every_second_frame(video):
    torch.manual_seed(0)
    strided = Strided().eval()
    found = lrp3d.explain_video(strided, video(45), frames=8, stride=6, every=2, size=24, short_side=24)
    assert found.step == 2
    assert found.band.shape == (11, 4)  # 23 frames, of which the last has no other to make a step with
    assert found.indices.tolist() == list(range(0, 44, 2))
    assert found.times.isnan().all()
    with pytest.raises(ValueError, match="stands for 2 frames: stride= is a multiple of that, got 1"):
        lrp3d.explain_video(strided, video(45), frames=8, stride=1, size=24, short_side=24)


def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(model, video, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "FRAMES_AT_ONCE", 6)
    path, calls = video(16), []
    whole = lrp3d.explain_video(model, path, **HOW)
    explain = explaining.explain

    def dies(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return explain(*arguments, **options)

    monkeypatch.setattr(explaining, "explain", dies)
    with pytest.raises(KeyboardInterrupt):
        lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    assert len(list((tmp_path / "parts").glob("part-*"))) == 1
    calls[:] = [1] * 10
    again = lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    assert again.band.equal(whole.band)
    assert again.thumbnails.equal(whole.thumbnails)
    spent = len(calls)
    lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    assert len(calls) == spent + 1  # the first window alone, which says what a row is
    (part,) = sorted((tmp_path / "parts").glob("part-*"))[:1]
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"part-000000\.safetensors is no part .* it is made again"):
        assert lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW).band.equal(whole.band)
    with pytest.raises(ValueError, match="another run, which differs in target: take another folder"):
        lrp3d.explain_video(model, path, 2, folder=tmp_path / "parts", **HOW)


def test_what_is_lost_of_a_video_is_said_once_however_many_windows_meet_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "FRAMES_AT_ONCE", 12)
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3)).astype(np.uint8)
    noise[25:55] = noise[25]
    path = encode(tmp_path / "clip.mp4", noise, gop=60, b_frames=0)
    said = ["the picture of clip.mp4 stands still around frames 26 to 54, as after damage in a recording"]
    for _ in ("computed", "read back"):
        found = lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
        assert [note for note in found.notes if "classifier" not in note] == said
    assert len(list((tmp_path / "parts").glob("part-*"))) > 3


def test_a_damaged_record_of_a_run_is_named(model, video, tmp_path):
    path = video(16)
    lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    (tmp_path / "parts" / "run.json").write_text("")
    with pytest.raises(ValueError, match=r"run\.json is damaged, .* delete .*parts to start anew"):
        lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)


def test_parts_of_a_run_with_other_rules_or_another_range_are_another_run(model, video, tmp_path):
    path = video(16)
    lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    for other in ({"composite": lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.Flat()})}, {"input_range": (-9.0, 9.0)}):
        with pytest.raises(ValueError, match="another run, which differs in"):
            lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW, **other)
    lrp3d.register_composite("mine", lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.Flat()}))
    lrp3d.explain_video(model, path, folder=tmp_path / "mine", composite="mine", **HOW)
    lrp3d.register_composite("mine", lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.ZPlus()}), replace=True)
    with pytest.raises(ValueError, match="another run, which differs in rules"):
        lrp3d.explain_video(model, path, folder=tmp_path / "mine", composite="mine", **HOW)


def test_parts_of_another_network_with_the_same_weights_are_another_run(video, tmp_path):
    class Forward(nn.Module):
        def __init__(self, stride=1, twice=False):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, (1, 3, 3), stride=(stride, 1, 1)), nn.Linear(4, 3)
            self.twice = twice

        def forward(self, clip):
            features = self.conv(clip).relu()
            return self.fc((features + features if self.twice else features).mean((2, 3, 4)))

    path, model = video(16), Forward().eval()
    lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    for options, said in (({"stride": 2}, "network, frames of a row"), ({"twice": True}, "layers")):
        other = Forward(**options).eval()
        other.load_state_dict(model.state_dict())
        with pytest.raises(ValueError, match=f"another run, which differs in {said}"):
            lrp3d.explain_video(other, path, folder=tmp_path / "parts", **HOW)


def test_the_score_of_a_negative_lone_logit_is_that_of_the_class_it_speaks_for(video):
    model = Strided().eval()
    model.fc = nn.Linear(4, 1)
    nn.init.constant_(model.fc.weight, -1.0)
    nn.init.constant_(model.fc.bias, -1.0)
    found = lrp3d.explain_video(model, video(16), **HOW)
    assert (found.frame_logits > 0).all()
    assert (found.scores > 0.5).all()


def test_finished_parts_belong_to_the_pictures_of_a_video_and_not_to_its_file_name(model, video, tmp_path):
    path, other = video(16), tmp_path / "elsewhere" / "long.npy"
    whole = lrp3d.explain_video(model, path, folder=tmp_path / "parts", **HOW)
    other.parent.mkdir()
    shutil.copy(path, other)
    assert lrp3d.explain_video(model, other, folder=tmp_path / "parts", **HOW).band.equal(whole.band)
    np.save(other, draw_clip(16, 24, seed=2).numpy())
    with pytest.raises(ValueError, match="another run, which differs in content of the video"):
        lrp3d.explain_video(model, other, folder=tmp_path / "parts", **HOW)


def test_frames_that_are_held_at_once_do_not_grow_with_the_video(model, video, monkeypatch):
    monkeypatch.setattr(explaining, "FRAMES_AT_ONCE", 6)
    most = []
    read = explaining.read_frames

    def counted(*arguments, **options):
        clip = read(*arguments, **options)
        most.append(len(clip.pixels))
        return clip

    monkeypatch.setattr(explaining, "read_frames", counted)
    lrp3d.explain_video(model, video(24), **HOW)
    assert max(most) <= 6


def test_the_packets_of_a_video_are_read_through_once(model, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "FRAMES_AT_ONCE", 6)
    path = encode(tmp_path / "long.mp4", numbered_frames(24))
    whole, reads = lrp3d.explain_video(model, path, **HOW), []
    timeline_of = files.timeline_of
    monkeypatch.setattr(files, "timeline_of", lambda *given: reads.append(1) or timeline_of(*given))
    again = lrp3d.explain_video(model, path, **HOW)
    assert len(reads) == 1
    assert again.indices.tolist() == list(range(24))
    assert again.band.equal(whole.band)


def test_what_was_found_of_one_video_is_not_believed_of_another(tmp_path):
    one, other = (encode(tmp_path / name, numbered_frames(6)) for name in ("one.mp4", "other.mp4"))
    survey = lrp3d.video.Survey()
    lrp3d.video.read_frames(one, lambda count: [0], survey=survey)
    with pytest.raises(ValueError, match=r"this survey is of .*one\.mp4: give a new .* for .*other\.mp4"):
        lrp3d.video.read_frames(other, lambda count: [0], survey=survey)


def test_time_grows_with_the_number_of_windows(model, video, monkeypatch):
    calls = []
    explain = explaining.explain
    monkeypatch.setattr(explaining, "explain", lambda *a, **k: calls.append(1) or explain(*a, **k))
    for frames in (12, 24):
        lrp3d.explain_video(model, video(frames), **HOW)
    assert len(calls) == 5 + 11


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": 30}, "long.npy has 12 frames, fewer than one window of 30"),
        ({"stride": 9}, "stride=9 leaves frames out between windows of 4"),
        ({"frames": 0}, "frames must be a whole number of at least 1, got 0"),
        ({"every": 0}, "every must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_sentence(model, video, options, said):
    with pytest.raises((VideoError, ValueError), match=said):
        lrp3d.explain_video(model, video(12), **(HOW | options))


def test_it_is_saved_said_and_shown(model, video, tmp_path):
    found = lrp3d.explain_video(model, video(10), **HOW)
    found.save(tmp_path / "video.safetensors")
    again = lrp3d.VideoExplanation.load(tmp_path / "video.safetensors")
    assert again.band.equal(found.band)
    assert again.about == found.about
    assert "a video of 10 frames" in repr(again)
    assert json.loads(json.dumps(found.to_dict(["a", "b", "c"]), allow_nan=False))["rows"][0]["label"] in "abc"
    page = found.page(["<a>", "b", "c"])
    assert "http:" not in page
    assert "https:" not in page
    assert "<a>" not in page
    with pytest.raises(ValueError, match="no explanation of a video"):
        lrp3d.VideoExplanation.load(video(4))


@pytest.mark.parametrize("end", ["", "img_%05d.png"])
def test_folders_of_images_have_parts_too_and_other_images_are_another_run(model, tmp_path, end):
    images = tmp_path / "images"
    images.mkdir()
    for number, pixels in enumerate(draw_clip(6, 24, seed=1).numpy()):
        Image.fromarray(pixels).save(images / f"img_{number:05}.png")
    found = lrp3d.explain_video(model, images / end, folder=tmp_path / "parts", **HOW)
    assert lrp3d.explain_video(model, images / end, folder=tmp_path / "parts", **HOW).band.equal(found.band)
    Image.fromarray(pixels[::-1].copy()).save(images / "img_00002.png")
    with pytest.raises(ValueError, match="another run, which differs in content of the video"):
        lrp3d.explain_video(model, images / end, folder=tmp_path / "parts", **HOW)
