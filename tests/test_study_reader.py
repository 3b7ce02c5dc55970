"""A study finds the clips of its list and reads the same pixels from them as `read_clip`."""

import pytest
import torch
from PIL import Image
from studies import encode
from videos import frames_in

from lrp3d.study import Item, Reader, read_list
from lrp3d.study.running.reader import Pixels, normalised
from lrp3d.video import IMAGENET_MEAN, IMAGENET_STD, ClipWarning, VideoError, draw_clip, read_clip


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        (Item(0, "a b.mp4"), "a b.mp4"),
        (Item(0, "7"), "7.webm"),
        (Item(0, "a.mp4"), "a.mkv"),
        (Item(0, "x", places=("tai chi/x", "tai_chi/x")), "tai_chi/x.mp4"),
        (Item(0, "frames.mp4"), "frames"),
        (Item(0, "v1.2_x"), "v1.2_x.mp4"),
    ],
)
def test_a_clip_is_found_under_the_names_that_it_may_have(tmp_path, listed, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    assert Reader(tmp_path).locate(listed) == tmp_path / there


def test_a_clip_that_is_nowhere_is_an_error_of_the_video(tmp_path):
    with pytest.raises(VideoError, match=r"no file or folder a\.mp4"):
        Reader(tmp_path)(Item(0, "a.mp4"))


def test_folders_that_a_list_of_windows_separates_otherwise_are_told(tmp_path):
    (tmp_path / "yoga").mkdir()
    (tmp_path / "yoga/a.mp4").touch()
    with pytest.raises(VideoError, match=r"folder yoga\\a\.mp4 below the root, but there is one with / "):
        Reader(tmp_path).locate(Item(0, r"yoga\a.mp4"))
    with pytest.raises(VideoError, match=r"folder yoga\\b\.mp4 below the root$"):
        Reader(tmp_path).locate(Item(0, r"yoga\b.mp4"))


def test_frames_are_read_and_the_flow_beside_them_is_not(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    for number, image in enumerate(draw_clip(6, 40).numpy(), 1):
        Image.fromarray(image).save(folder / f"img_{number:05d}.jpg", quality=95)
        Image.fromarray(image * 0).save(folder / f"flow_x_{number:05d}.jpg")
    read = Reader(tmp_path, frames=6, size=40, short_side=40)(Item(0, "x"))
    assert read.indices.tolist() == list(range(6))
    assert abs(read.frames.astype(float) - draw_clip(6, 40).numpy()).mean() < 20


def test_what_is_read_is_what_read_clip_gives(tmp_path):
    encode(tmp_path / "a.mp4")
    read = Reader(tmp_path, frames=4, size=32, short_side=36)(Item(0, "a.mp4"))
    clip = read_clip(tmp_path / "a.mp4", 4, size=32, short_side=36)
    made = normalised(torch.from_numpy(read.frames).unsqueeze(0), IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(made, clip.tensor)


def test_a_study_reads_the_usual_series_as_explain_does_and_that_is_no_damage(tmp_path):
    names = [f"{kind}_{number:05}.png" for kind in ("img", "left", "flow_x") for number in (1, 2)]
    folder = frames_in(tmp_path / "x", *names)
    with pytest.warns(ClipWarning, match="4 other images of x are not read, such as flow_x_00001"):
        clip = read_clip(folder, 2, size=32, short_side=32)
    pixels = Reader(tmp_path, frames=2, size=32, short_side=32)(Item(0, "x"))
    assert (pixels.lost, pixels.notes) == ((), clip.notes)


def test_dense_clips_have_consecutive_frames_unless_a_stride_is_given(tmp_path):
    encode(tmp_path / "a.mp4", 20)
    read = Reader(tmp_path, frames=4, sampling="dense", size=32, short_side=32)(Item(0, "a.mp4"))
    assert read.indices[1:].tolist() == (read.indices[:-1] + 1).tolist()


def test_pixels_that_nobody_timed_took_no_time():
    assert Pixels(draw_clip(2, 8).numpy(), torch.arange(2).numpy()).seconds == 0


def folder_clip(tmp_path, line: str, images: int = 6):
    """The pixels of a folder of frames x, as a list with this line has it."""
    if not (tmp_path / "x").exists():
        frames_in(tmp_path / "x", *(f"img_{number:05}.png" for number in range(1, images + 1)))
    (tmp_path / "val.txt").write_text(line)
    (item,) = read_list(tmp_path / "val.txt", labels=("archery", "yoga")).items
    return Reader(tmp_path, frames=2, size=32, short_side=32)(item)


LISTED = [
    "x {} 1",
    "x 1 {} 1",
    "x,{},1",
    "x;1;{};1",
    "x {} yoga",
    "path,num_frames,label\nx,{},yoga",
    "label total_frames path\n1 {} x",
]


@pytest.mark.parametrize("line", LISTED)
def test_a_folder_with_other_images_than_its_list_says_is_read_and_said(tmp_path, line):
    pixels = folder_clip(tmp_path, line.format(6))
    assert (pixels.lost, pixels.notes) == ((), ())
    pixels = folder_clip(tmp_path, line.format(5))
    said = "the list says that x has 5 frames, and the folder has 6: it is read as it is"
    assert (pixels.lost, pixels.notes) == ((), (said,))
    pixels = folder_clip(tmp_path, line.format(7))  # a list that counts from 0 may count one more
    assert (pixels.lost, pixels.notes) == ((), (said.replace("5", "7"),))
    pixels = folder_clip(tmp_path, line.format(1200))
    said = "the list says that x has 1,200 frames, and the folder has 6: some may be missing"
    assert (pixels.lost, pixels.notes) == ((said,), ())
    assert pixels.indices.tolist() == [1, 4]


@pytest.mark.parametrize("line", ["x 1", "x -1 1", "path,num_frames,label\nx,,yoga"])
def test_a_list_that_does_not_say_how_many_frames_there_are_is_not_compared(tmp_path, line):
    pixels = folder_clip(tmp_path, line)
    assert (pixels.lost, pixels.notes) == ((), ())


def test_the_frames_of_a_video_file_are_not_held_against_the_list(tmp_path):
    encode(tmp_path / "a.mp4", 20)
    read = Reader(tmp_path, frames=4, size=32, short_side=32)(Item(0, "a", frames=3))
    assert read.notes == ()


def test_a_name_that_may_mean_several_files_is_told_with_the_one_that_is_read(tmp_path):
    for name in ("y.mp4", "y.avi", "z.mp4"):
        encode(tmp_path / name, 6)
    read = Reader(tmp_path, frames=2, size=32, short_side=32)
    assert read(Item(0, "y.mkv")).notes == ("y.mkv may mean y.mp4 and y.avi: y.mp4 is read",)
    assert read(Item(0, "y")).notes == ("y may mean y.mp4 and y.avi: y.mp4 is read",)
    assert read(Item(0, "y.mp4")).notes == ()
    assert read(Item(0, "z.mkv")).notes == ()
