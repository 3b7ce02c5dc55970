"""No frame of a video is lost silently: each loss is named, and the frames beside it are those that were asked for."""

import av
import numpy as np
import pytest
from videos import SMALL, damage, encode, frame_numbers, numbered_frames

from lrp3d.sampling import uniform_indices
from lrp3d.video import LostFramesWarning, VideoError, read_clip

pytestmark = pytest.mark.filterwarnings("error::lrp3d.video.LostFramesWarning")  # unless a test expects it


def test_a_short_video_repeats_its_frames_and_says_so(tmp_path):
    path = encode(tmp_path / "clip.mp4", numbered_frames(3))
    with pytest.warns(LostFramesWarning, match="3 frames and 8 were asked for"):
        clip = read_clip(path, 8, **SMALL)
    assert clip.indices.tolist() == uniform_indices(3, 8).tolist()
    assert len(clip.lost) == 1


def test_lost_frames_are_replaced_by_their_neighbours_and_named(tmp_path):
    path = encode(tmp_path / "clip.mp4", numbered_frames(40), b_frames=0)
    damage(path, [25])
    with pytest.warns(LostFramesWarning):
        clip = read_clip(path, 40, **SMALL)
    assert clip.indices[[24, 25, 26]].tolist() == [24, 24, 26]
    assert "25 by 24" in clip.lost[0]
    assert "26 to 29 of clip.mp4 follow damaged data" in clip.lost[1]
    assert frame_numbers(clip)[:25] == list(range(25))
    assert frame_numbers(clip)[30:] == list(range(30, 40))


def test_damage_elsewhere_is_no_concern_of_the_clip(tmp_path):
    path = damage(encode(tmp_path / "clip.mp4", numbered_frames(60), b_frames=0), [45, 46])
    clip = read_clip(path, 8, "dense", **SMALL)
    assert clip.lost == ()
    assert frame_numbers(clip) == list(range(26, 34))


def test_a_frame_that_the_decoder_patches_up_counts_as_lost(tmp_path):
    path = encode(tmp_path / "clip.avi", numbered_frames(40), codec="mpeg4", b_frames=0)
    damage(path, [12])
    with pytest.warns(LostFramesWarning) as said:
        clip = read_clip(path, 40, **SMALL)
    assert "replaced: 12 by 11" in str(said[0].message), clip.lost
    assert "16 to 19 of clip.avi follow damaged data" in clip.lost[1], clip.lost
    assert frame_numbers(clip)[20:] == list(range(20, 40))


def test_a_video_without_a_sound_frame_is_refused(tmp_path):
    path = damage(encode(tmp_path / "clip.mp4", numbered_frames(8), b_frames=0), range(8))
    with pytest.raises(VideoError, match=r"no frame of clip\.mp4 decodes"):
        read_clip(path, 4)


def test_a_file_that_breaks_off_gives_what_it_holds(tmp_path):
    path = encode(tmp_path / "clip.avi", numbered_frames(40), codec="mpeg4", b_frames=0)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[20] + 20])
    with pytest.warns(LostFramesWarning, match="announces 40 frames and holds"):
        clip = read_clip(path, 4, **SMALL)
    assert clip.num_video_frames in (20, 21)
    assert frame_numbers(clip) == clip.indices.tolist()


def test_a_picture_that_stands_still_in_a_moving_video_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3)).astype(np.uint8)
    noise[25:55] = noise[25]
    path = encode(tmp_path / "clip.mp4", noise, gop=60, b_frames=0)
    with pytest.warns(LostFramesWarning, match="stands still around frames 37, 52"):
        read_clip(path, 4, **SMALL)


def test_a_single_frame_that_stands_still_is_one_frame(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3)).astype(np.uint8)
    noise[25:55] = noise[25]
    path = encode(tmp_path / "clip.mp4", noise, gop=60, b_frames=0)
    with pytest.warns(LostFramesWarning, match="stands still around frame 45, as after"):
        read_clip(path, 2, **SMALL)


def test_a_still_video_is_just_still(tmp_path):
    path = encode(tmp_path / "clip.mp4", [np.full((48, 64, 3), 128, np.uint8)] * 60)
    assert read_clip(path, 4, **SMALL).lost == ()
