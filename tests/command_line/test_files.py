"""What is written: whole, or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from terminal import FILES, NETWORKS, RANDOM, SMALL, in_a_process

import lrp3d
from lrp3d.commands.command_line import main
from lrp3d.commands.explain import _folders
from lrp3d.video import draw_clip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run over two videos of one name, and what it printed."""
    folder = tmp_path_factory.mktemp("written")
    for place in ("a", "b"):
        (folder / place).mkdir()
        np.save(folder / place / "clip.npy", draw_clip(6, 40, seed=ord(place)).numpy())
    videos = [str(folder / place / "clip.npy") for place in ("a", "b")]
    main(["explain", *videos, *SMALL, "--target", "3", "--out", str(folder / "out")])
    return folder / "out"


def test_every_video_gets_a_folder_of_its_own_with_everything(written):
    assert {folder.name for folder in written.iterdir()} == {"clip", "clip-2"}
    for folder in written.iterdir():
        assert {file.name for file in folder.iterdir()} == FILES
        assert all(file.stat().st_mode & 0o044 == 0o044 & ~umask() for file in folder.iterdir())


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_saved_explanation_loads_back_bit_for_bit(written):
    torch.manual_seed(0)
    model = lrp3d.models.build("I3D-R18-f4", num_classes=400, width=4).eval()
    read = lrp3d.video.read_clip(
        written.parent / "a" / "clip.npy", 4, size=32, short_side=37, mean=model.mean, std=model.std
    )
    expected = lrp3d.explain(model, read.tensor, 3)
    found = lrp3d.Explanation.load(written / "clip" / "explanation.safetensors")
    for name, tensor in expected._tensors():
        assert torch.equal(dict(found._tensors())[name], tensor), name
    assert found.ledger == expected.ledger


def test_the_pictures_are_pictures_and_differ_between_videos(written):
    for name in ("relevance.png", "matrix.png", "atr.png"):
        first, second = (Image.open(written / folder / name).convert("RGB") for folder in ("clip", "clip-2"))
        assert min(first.size) > 300
        assert first.tobytes() != second.tobytes()


def test_random_weights_are_said_in_everything_that_is_written(written):
    folder = written / "clip"
    assert RANDOM.capitalize() in (folder / "report.html").read_text()
    assert json.loads((folder / "explanation.json").read_text())["weights"].startswith(RANDOM)
    assert lrp3d.Explanation.load(folder / "explanation.safetensors").about["weights"].startswith(RANDOM)
    for name in ("relevance.png", "matrix.png", "atr.png"):
        assert Image.open(folder / name).text["Comment"].startswith(RANDOM)


def test_a_saved_explanation_says_what_it_explains(written):
    about = lrp3d.Explanation.load(written / "clip-2" / "explanation.safetensors").about
    assert about["model"] == "I3D-R18-f4"
    assert about["video"].endswith("clip.npy")
    assert about["composite"] == "paper"


def test_results_of_several_videos_are_named_after_them_and_stay_below_the_folder():
    for place in ("a", "b"):
        Path(place).mkdir()
        Path(place, "clip.mp4").touch()
    videos = ["a/clip.mp4", "b/clip.mp4", "frames/img_%05d.jpg", "..", "."]
    here = Path.cwd()
    assert _folders(videos, Path("out")) == [
        Path("out") / name for name in ("clip", "clip-2", "frames", here.parent.stem, here.stem)
    ]


@pytest.mark.slow
def test_of_several_videos_none_is_written_above_or_over_another(run, clip, folder):
    (folder / "explanation.json").write_text("mine")
    names = ["...npy", "a\nb\x1b[31m.npy", "CLIP.npy", "con.npy", "$x$.npy", "caf\udce9.npy"]
    for name in names:
        os.link(clip, folder / name)
    code, out, _ = run("explain", clip, *names, *SMALL, "--frames", 2, "--out", "out", "--json")
    places = [folder / found["folder"] for found in json.loads(out)["clips"]]
    assert code == 0
    assert len({place.name.casefold() for place in places}) == 1 + len(names)
    for place in places:
        assert place.resolve().parent == folder / "out"
        assert {file.name for file in place.iterdir()} == FILES
    assert (folder / "explanation.json").read_text() == "mine"


def test_names_do_nothing_to_the_terminal(run, clip, folder):
    (folder / "labels.json").write_text(json.dumps(["\x1b[2Jred\nNOTE: all is well", "b", "c"]))
    (folder / "networks.py").write_text(textwrap.dedent(NETWORKS))
    os.link(clip, folder / "a\x1b[31m\nb.npy")
    given = ["--model", "networks:Net", "--size", 16, "--frames", 2, "--labels", "labels.json", "--target", "0"]
    for video in ("a\x1b[31m\nb.npy", "no\x1bsuch\nvideo.mp4"):
        _, out, err = run("explain", video, *given)
        assert "\x1b" not in out + err
        assert not any(line.startswith(("b.npy", "NOTE", "video.mp4")) for line in (out + err).splitlines())


def test_a_picture_for_which_there_is_no_room_is_said_in_one_line(run, clip, folder, monkeypatch):
    def full(figure, path, **how):
        Path(path).write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    code, _, err = run("explain", clip, *SMALL, "--frames", 2, "--out", "out")
    assert (code, err) == (1, "lrp3d: clip.npy: out/relevance.png: No space left on device\n")
    assert {file.name for file in (folder / "out").iterdir()} == {"explanation.safetensors", "explanation.json"}


def test_a_single_video_is_written_into_the_folder_itself_and_again_over_itself(run, clip, folder):
    for _ in range(2):
        code, out, _ = run("explain", clip, *SMALL, "--frames", 2, "--out", "new/out")
        assert code == 0
        assert {Path(line.split()[-1]).name for line in out.splitlines() if "wrote" in line} == FILES
        assert {file.name for file in (folder / "new" / "out").iterdir()} == FILES


def test_a_model_without_a_matrix_still_gets_its_pictures(run, clip, networks, folder):
    code, _, _ = run("explain", clip, "--model", "networks:PooledFirst", "--size", 16, "--frames", 4, "--out", "out")
    assert code == 0
    assert {file.name for file in (folder / "out").iterdir()} == FILES - {"matrix.png", "atr.png"}


def test_what_a_failure_interrupts_is_not_half_there(run, clip, folder, monkeypatch):
    def half(figure, path, **how):
        Path(path).write_bytes(b"half a picture")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    code, _, err = run("explain", clip, *SMALL, "--frames", 2, "--out", "out")
    assert code == 1
    assert "No space left on device" in err
    assert {file.name for file in (folder / "out").iterdir()} == {"explanation.safetensors", "explanation.json"}


def test_ctrl_c_leaves_no_half_written_file(clip, folder):
    """Interrupted in the middle of a picture, after half of it was written."""
    (folder / "slow.py").write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from matplotlib.figure import Figure
        from networks import Net

        def savefig(figure, path, **how):
            Path(path).write_bytes(b"half a picture")
            print("HALF", flush=True)
            time.sleep(60)

        Figure.savefig = savefig
    """)
    )
    (folder / "networks.py").write_text(textwrap.dedent(NETWORKS))
    arguments = ["explain", clip, "--model", "slow:Net", "--size", 16, "--frames", 2, "--out", "out"]
    # Whoever runs the tests in the background of a script has interrupts ignored, and so would every child.
    process = in_a_process(*arguments, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL))
    for line in process.stdout:
        if line == "HALF\n":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (130, "lrp3d: interrupted\n")
    assert {file.name for file in (folder / "out").iterdir()} == {"explanation.safetensors", "explanation.json"}


def test_a_reader_who_wants_no_more_is_no_error(clip):
    process = in_a_process("explain", *[clip] * 3, *SMALL, "--frames", 2)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=600) == 0


# Whoever reads


def broken_pipe():
    """A file descriptor to write into that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed(*numbers):
    return lambda: [os.close(number) for number in numbers]


CLOSED = {"stdout": (1,), "stderr": (2,), "stdout and stderr": (1, 2), "stdin, stdout and stderr": (0, 1, 2)}


@pytest.fixture
def explained(clip, folder):
    """Explain two clips in a process with these streams; returns the exit code and what was written."""
    (folder / "other.npy").write_bytes((folder / clip).read_bytes())

    def explaining(**streams):
        command = [sys.executable, "-m", "lrp3d", "explain", clip, "other.npy", *SMALL, "--frames", "2", "--out", "out"]
        done = subprocess.run(command, timeout=600, check=False, **streams)
        return done, {str(file.relative_to("out")) for file in Path("out").rglob("*") if file.is_file()}

    return explaining


EVERYTHING = {f"{video}/{file}" for video in ("clip", "other") for file in FILES}


@pytest.mark.slow
@pytest.mark.parametrize("streams", CLOSED)
def test_everything_is_written_where_streams_are_closed(explained, streams):
    done, found = explained(preexec_fn=closed(*CLOSED[streams]))
    assert (done.returncode, found) == (0, EVERYTHING)


@pytest.mark.slow
def test_everything_is_written_where_the_reader_has_gone(explained):
    pipe = broken_pipe()
    done, found = explained(stdout=pipe, stderr=subprocess.PIPE)
    os.close(pipe)
    assert (done.returncode, done.stderr, found) == (0, b"", EVERYTHING)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_everything_is_written_where_nothing_can_be_printed_and_that_is_said(explained):
    with Path("/dev/full").open("wb") as full:
        done, found = explained(stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, found) == (1, EVERYTHING)
    assert done.stderr == b"lrp3d: not everything could be printed: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["explain", "--help"], []])
def test_help_that_nobody_can_read_is_said(arguments):
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "lrp3d", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.count(b"not everything could be printed")) == (1, 1)


def test_letters_that_the_terminal_does_not_know_are_no_reason_to_lose_results(clip, folder):
    names = [f"Klasse {number} \u00fc\u4e2d" for number in range(3)]
    (folder / "names.txt").write_text("\n".join(names), encoding="utf-8")
    asked = ["explain", clip, *SMALL, "--frames", 2, "--labels", "names.txt"]
    out, err = in_a_process(*asked, env={**os.environ, "PYTHONIOENCODING": "ascii"}).communicate(timeout=600)
    assert err == ""
    assert "\\xfc\\u4e2d" in out


def test_complaints_never_get_among_the_results(clip):
    """Python prints to stdout what goes to a stderr that is closed."""
    process = in_a_process("explain", "missing.mp4", clip, *SMALL, "--frames", 2, "--json", preexec_fn=closed(2))
    out, _ = process.communicate(timeout=600)
    assert len(json.loads(out)["clips"]) == 2


def test_what_native_code_prints_to_a_closed_stdout_never_gets_into_a_file(clip, folder):
    """The first file that is opened would get the number of stdout."""
    (folder / "native.py").write_text(
        textwrap.dedent("""
        import os
        from networks import Net

        def make():
            with open("own.txt", "w") as file:
                os.write(1, b"progress of native code")
                file.write("own")
            return Net()
    """)
    )
    (folder / "networks.py").write_text(textwrap.dedent(NETWORKS))
    asked = ["explain", clip, "--model", "native:make", "--size", 16, "--frames", 2]
    assert in_a_process(*asked, preexec_fn=closed(1)).wait(timeout=600) == 0
    assert (folder / "own.txt").read_text() == "own"


def test_a_folder_holds_a_clip_or_a_whole_video_and_not_both(run, clip):
    whole = {"video.safetensors", "video.json", "timeline.html"}
    for more, own, others in (((), FILES, whole), (("--whole",), whole, FILES), ((), FILES, whole)):
        assert run("explain", clip, *SMALL, *more, "--out", "out")[0] == 0
        found = {path.name for path in Path("out").iterdir()}
        assert own <= found
        assert not others & found
