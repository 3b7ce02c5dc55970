"""The numbers of a study are those of the library, clip by clip, with every option that changes them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from studies import encode
from torch import nn

import lrp3d
from lrp3d import study, video
from lrp3d.commands.command_line import main
from lrp3d.sampling import partial_uniform_logits
from lrp3d.study.running.reader import normalised
from lrp3d.study.running.time_variants import in_time

FRAMES, CLASSES = 8, 5


class Net(nn.Module):
    """Two temporal convolutions and frame logits that lie close together, so that windows change predictions."""

    mean, std = (0.45, 0.5, 0.4), (0.2, 0.25, 0.3)

    def __init__(self, answers=None, stride=1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.stem = nn.Conv3d(3, 6, 3, padding=1, stride=(stride, 1, 1))
            self.body = nn.Conv3d(6, 6, 3, padding=1)
            self.head = nn.Linear(6, CLASSES)
        self.answers = answers or slice(None)
        self.num_classes = CLASSES

    def frame_logits(self, clip):
        x = torch.relu(self.body(torch.relu(self.stem(clip))))
        return self.head(x.amax((3, 4)).transpose(1, 2))[:, self.answers]

    def forward(self, clip):
        return self.frame_logits(clip).mean(1)


def pixels(count=16):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (FRAMES, 12, 12, 3), dtype=np.uint8) for _ in range(count)]


def balanced(model):
    """Biased such that its classes are about equally likely on `pixels`."""
    clips = normalised(torch.from_numpy(np.stack(pixels())), model.mean, model.std)
    with torch.no_grad():
        model.head.bias -= model.frame_logits(clips).mean((0, 1))
    return model.eval(), clips


def predictions(model, clips, window, **how):
    return partial_uniform_logits(model, clips, window, **how).logits.argmax(1)


def test_windows_are_segments_centred_windows_or_a_size_and_no_other():
    model, clips = balanced(Net())
    windows = ["segment", "centred", 2]
    explainer = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.8, windows=windows)
    (part,) = explainer.parts(pixels())
    found = lrp3d.explain(model, clips).at_sigma(0.8)
    expected = {
        "segment": predictions(model, clips, lrp3d.atr.frame_windows(found.matrix, 0.8)),
        "centred": predictions(model, clips, found.atr),
        2: predictions(model, clips, 2),
    }
    assert torch.equal(part.windows, torch.stack([expected[window] for window in windows], 1))
    assert part.empty is None
    mean_size = predictions(model, clips, round(float(found.atr.mean())))
    whole = predictions(model, clips, FRAMES)
    answers = [*expected.values(), mean_size, whole]
    assert all((a != b).any() for i, a in enumerate(answers) for b in answers[:i]), "the clips tell windows apart"


def test_the_control_shows_black_images_outside_of_the_same_windows():
    model, clips = balanced(Net())
    explainer = study.Explainer(model, mean=model.mean, std=model.std, windows=[2, "segment"], empty=True)
    (part,) = explainer.parts(pixels())
    black = [(0 - mean) / std for mean, std in zip(model.mean, model.std, strict=True)]
    segments = lrp3d.explain(model, clips).segments
    expected = [predictions(model, clips, window, fill="blank", value=black) for window in (2, segments)]
    assert torch.equal(part.empty, torch.stack(expected, 1))
    assert (part.empty != part.windows).any()
    grey = predictions(model, clips, 2, fill="blank")
    assert (part.empty[:, 0] != grey).any(), "the clips tell black from the mean colour"


def test_frames_that_answer_see_windows_around_themselves():
    model, clips = balanced(Net(slice(3, None, 4)))
    explainer = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.6, windows=["segment", 1])
    (part,) = explainer.parts(pixels())
    found = lrp3d.explain(model, clips).at_sigma(0.6)
    assert found.positions == [3, 7]
    own = torch.tensor([3, 7]), torch.tensor([3, 7])
    left, right = found.segments
    assert ((left <= own[0]) & (right >= own[0])).all()
    expected = [predictions(model, clips, window, own=own) for window in ((left, right), 1)]
    assert torch.equal(part.windows, torch.stack(expected, 1))


def test_windows_of_a_model_with_temporal_stride_are_counted_in_frames():
    model, clips = balanced(Net(stride=2))
    explainer = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.5, windows=["segment", "centred"])
    (part,) = explainer.parts(pixels())
    found = lrp3d.explain(model, clips).at_sigma(0.5)
    left, right = lrp3d.atr.frame_windows(found.matrix, 0.5)  # in steps of two frames
    expected = [predictions(model, clips, window) for window in ((2 * left, 2 * right + 1), 2 * found.atr)]
    assert torch.equal(part.windows, torch.stack(expected, 1))
    assert (predictions(model, clips, found.atr) != expected[1]).any(), "the clips tell frames from steps"


def test_a_window_that_is_named_twice_is_tried_once():
    model = lrp3d.models.i3d_resnet(18, num_classes=3, width=8).eval()
    assert study.Explainer(model, windows=[1, "segment", 1, "segment", 2]).windows == (1, "segment", 2)


def test_steps_that_answer_see_windows_around_all_of_their_frames():
    model, clips = balanced(Net(slice(1, None, 2), stride=2))
    explainer = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.5, windows=[3])
    (part,) = explainer.parts(pixels())
    assert lrp3d.explain(model, clips).positions == [1, 3]
    own = torch.tensor([2, 6]), torch.tensor([3, 7])
    expected = predictions(model, clips, 3, own=own)
    assert torch.equal(part.windows[:, 0], expected)
    elsewhere = torch.tensor([1, 3]), torch.tensor([2, 4])
    assert (predictions(model, clips, 3, own=elsewhere) != expected).any(), "the clips tell steps from frames"


def test_steps_have_windows_where_they_do_not_divide_the_frames():
    model, clips = balanced(Net(slice(1, None, 2), stride=2))
    clips = torch.cat([clips, clips[:, :, :1]], 2)  # nine frames, five steps
    explainer = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.5, windows=[3])
    nine = [np.concatenate([clip, clip[:1]]) for clip in pixels()]
    (part,) = explainer.parts(nine)
    assert lrp3d.explain(model, clips).positions == [1, 3]
    own = torch.tensor([2, 6]), torch.tensor([3, 7])  # of steps that begin at frames 0, 2, 4, 6 and 8
    assert torch.equal(part.windows[:, 0], predictions(model, clips, 3, own=own))


@pytest.mark.slow
def test_a_study_of_slowfast_merges_its_pathways_as_asked():
    torch.manual_seed(0)
    model = lrp3d.models.slowfast_resnet50(CLASSES, frames=16, alpha=4, width=8).eval()
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 16, 32, 32, 3), dtype=np.uint8))
    clips = normalised(torch.from_numpy(np.stack(frames)), model.mean, model.std)
    with torch.no_grad():
        model.fc.bias -= model(clips).mean(0)
    how = {"mean": model.mean, "std": model.std, "input_range": model.input_range, "merge": "average", "sigma": 0.5}
    (part,) = study.Explainer(model, **how, windows=["segment"], time=["reversed"]).parts(frames)
    found, backwards, papers = (
        lrp3d.explain(model, changed, part.explanation.target, merge=merge).at_sigma(0.5)
        for changed, merge in ((clips, "average"), (clips.flip(2), "average"), (clips.flip(2), "paper"))
    )
    torch.testing.assert_close(part.explanation.matrix, found.matrix)
    torch.testing.assert_close(part.time[:, 1, 2], backwards.avg_atr.float())
    assert not torch.allclose(papers.avg_atr, backwards.avg_atr), "the clips tell both ways apart"
    ends = [end.repeat_interleave(4, 1) for end in found.segments]  # a row stands for four frames with logits
    assert torch.equal(part.windows[:, 0], predictions(model, clips, tuple(ends)))
    sizes = (ends[1] - ends[0] + 1).flip(1)
    assert (predictions(model, clips, sizes) != part.windows[:, 0]).any(), "the clips tell windows apart"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"windows": ["atr"]}, '"segment" or "centred"'), ({"empty": True}, "say which windows")],
)
def test_windows_that_are_none_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        study.Explainer(Net().eval(), **options)


def test_columns_of_several_frames_have_segments_in_frames():
    matrix = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]])
    found = lrp3d.explain(lrp3d.models.tsn_resnet(18, 2, width=8).eval(), torch.rand(1, 3, 4, 32, 32))
    for frames, firsts, lasts in ((6, [0, 2, 4], [1, 5, 5]), (8, [0, 3, 6], [2, 7, 7])):
        relevance = torch.ones(1, frames)
        coarse = lrp3d.Explanation(
            **{**vars(found), "matrix": matrix, "frame_relevance": relevance, "frame_logits": matrix.sum(2)}
        )
        assert [end.tolist() for end in coarse.segments] == [[firsts], [lasts]]


# Whole runs


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        encode(folder / f"{number}.mp4", frames=24 + number, seed=number)
    (folder / "val.txt").write_text("\n".join(f"{number}.mp4 {number}" for number in range(3)))
    return folder


@pytest.mark.parametrize(
    ("options", "explained", "read"),
    [
        ([], {}, {}),
        (["--sampling", "dense"], {}, {"sampling": "dense"}),
        (["--sampling", "dense", "--stride", "2"], {}, {"sampling": "dense", "stride": 2}),
        (["--sigma", "0.6"], {"sigma": 0.6}, {}),
        (["--plain"], {"contrastive": False}, {}),
        (["--composite", "epsilon_plus"], {"composite": "epsilon_plus"}, {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_record_holds_what_the_library_says_of_the_clip_that_was_asked_for(
    tmp_path, videos, monkeypatch, options, explained, read
):
    monkeypatch.syspath_prepend(str(tmp_path))
    model = Net().eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    words = ["study", "run", "--list", str(videos / "val.txt"), "--model", "test_study_numbers:Net"]
    words += ["--weights", str(tmp_path / "w.pt"), "--frames", str(FRAMES), "--size", "24", "--device", "cpu"]
    assert main([*words, "--workers", "0", "--out", str(tmp_path / "out"), *options]) == 0
    records = list(study.load_study(tmp_path / "out").records())
    assert len(records) == 3
    sigma = explained.pop("sigma", 0.975)
    ends = [[(end - mean) / std for mean, std in zip(model.mean, model.std, strict=True)] for end in (0, 1)]
    for number, record in enumerate(records):
        how = {"sampling": "uniform", **read}
        clip = video.read_clip(
            videos / f"{number}.mp4", FRAMES, size=24, short_side=27, mean=model.mean, std=model.std, **how
        )
        assert record.indices == tuple(clip.indices.tolist())
        found = lrp3d.explain(model, clip.tensor, input_range=tuple(ends), **explained).at_sigma(sigma)
        torch.testing.assert_close(record.matrix, found.matrix[0])
        torch.testing.assert_close(record.atr, found.atr[0])
        torch.testing.assert_close(record.logits, found.logits[0])
        assert record.conservation == pytest.approx(float(found.conservation[0]), abs=1e-5)


def test_time_is_changed_as_said_and_nothing_else():
    clips = torch.rand(2, 3, 5, 4, 4)
    assert in_time(in_time(clips, "reversed"), "reversed").equal(clips)
    shuffled = in_time(clips, "shuffled")
    assert not shuffled.equal(clips)
    assert shuffled.sort(2).values.equal(clips.sort(2).values)
    assert in_time(clips, "frozen").equal(clips[:, :, 2:3].expand_as(clips))
    alone = in_time(clips, "single")
    assert alone.shape == (10, 3, 5, 4, 4)
    assert alone[7].equal(clips[1, :, 2:3].expand(3, 5, 4, 4))


def test_atr_of_clips_with_their_time_changed_holds_the_same_share_of_a_row():
    model, clips = balanced(Net())
    (part,) = study.Explainer(model, mean=model.mean, std=model.std, sigma=0.6, time=["reversed"]).parts(pixels(4))
    target = part.explanation.target
    both = (lrp3d.explain(model, changed, target).at_sigma(0.6) for changed in (clips[:4], clips[:4].flip(2)))
    torch.testing.assert_close(part.time[:, :, 2], torch.stack([found.avg_atr.float() for found in both], 1))


@pytest.mark.parametrize("contrastive", [True, False])
def test_what_is_said_of_clips_with_their_time_changed_is_what_explain_says(contrastive):
    model, clips = balanced(Net())
    names = ("reversed", "shuffled", "frozen", "single")
    how = {"mean": model.mean, "std": model.std, "contrastive": contrastive}
    (part,) = study.Explainer(model, **how, time=names).parts(pixels(4))
    clips = clips[:4]
    assert part.time.shape == (4, 5, 4)
    target = part.explanation.target
    for i, name in enumerate(("as it is", "reversed", "shuffled", "frozen")):
        changed = clips if i == 0 else in_time(clips, name)
        found = lrp3d.explain(model, changed, target, contrastive=contrastive)
        split = lrp3d.explain(model, changed, target, contrastive=False, motion=True)
        logit = found.logits.gather(1, target[:, None])[:, 0]
        expected = [found.logits.argmax(1).float(), logit, found.avg_atr.float(), split.motion]
        torch.testing.assert_close(part.time[:, i], torch.stack(expected, 1))
    assert part.time[:, 3, 3].abs().max() < 1e-5  # nothing moves in a clip that is frozen
    alone = model(in_time(clips, "single")).reshape(4, FRAMES, CLASSES).mean(1)
    torch.testing.assert_close(part.time[:, 4, 1], alone.gather(1, target[:, None])[:, 0].detach())
    assert part.time[:, 4, 0].equal(alone.argmax(1).float())
    assert part.time[:, 4, 2:].isnan().all()
    with pytest.raises(ValueError, match="not 'backwards'"):
        study.Explainer(model, time=["backwards"])


class Lone(Net):
    """One logit of two classes, which is positive on some of `pixels` and negative on others."""

    def __init__(self):
        super().__init__()
        self.head, self.num_classes = nn.Linear(6, 1), 1
        nn.init.constant_(self.head.weight, 1.0)
        with torch.no_grad():
            self.head.bias.fill_(-float(super().frame_logits(torch.rand(4, 3, FRAMES, 12, 12)).mean()))


@pytest.fixture(scope="module")
def lone():
    model = Lone().eval()
    model, clips = balanced(model)
    numbers = range(len(clips))
    logits = model(clips).detach()[:, 0]
    assert (logits > 0).any()
    assert (logits < 0).any()
    labels = [number % 2 for number in numbers]
    records = study.records_of(lrp3d.explain(model, clips), numbers, [f"{i}.mp4" for i in numbers], labels)
    return model, logits, torch.tensor(labels), records


def test_a_lone_logit_predicts_class_1_where_it_is_positive_with_its_sigmoid_as_score(lone):
    _, logits, _, records = lone
    sides = (logits > 0).long()
    assert [record.prediction for record in records] == sides.tolist()
    assert [record.target for record in records] == sides.tolist(), "the prediction was explained"
    scores = torch.where(logits > 0, logits, -logits).sigmoid()
    torch.testing.assert_close(torch.tensor([record.score for record in records]), scores)
    torch.testing.assert_close(torch.tensor([record.logit for record in records]), logits.abs())


def test_accuracy_and_classes_of_a_lone_logit_are_those_of_its_two_sides(lone):
    _, logits, labels, records = lone
    sides = (logits > 0).long()
    summary = study.summarise(records, min_score=0)
    right = (sides == labels).double()
    assert summary["accuracy"]["top1"] == pytest.approx(100 * float(right.mean()), rel=1e-6)
    assert summary["accuracy"]["top5"] is None
    assert summary["filter"]["wrong"] == int((right == 0).sum())
    for side in (0, 1):
        entry = summary["classes"][f"{side:04d}"]
        assert entry["clips"] == int((labels == side).sum())
        assert entry["accuracy"] == pytest.approx(100 * float(right[labels == side].mean()), rel=1e-6)
    sure = logits.abs().sigmoid() > 0.51
    counted = study.summarise(records, min_score=0.51)["filter"]["counted"]
    assert counted == int((sure & (sides == labels)).sum())
    with pytest.raises(ValueError, match="clip 0 has class 2, and the model 2 classes"):
        study.summarise([replace(records[0], label=2)])
    columns = study.clip_columns(records)
    assert columns["prediction"] == sides.tolist()
    assert columns["logit"] == pytest.approx(logits.abs().tolist())


def test_two_logits_that_say_the_same_as_a_lone_one_have_the_same_predictions_and_scores(lone):
    _, logits, labels, _ = lone
    two = torch.stack([-logits / 2, logits / 2], 1)
    for least in (0.0, 0.5, 0.51):
        assert torch.equal(lrp3d.atr.select(logits[:, None], labels, least), lrp3d.atr.select(two, labels, least))


def test_windows_of_a_lone_logit_predict_the_side_on_which_it_is(lone):
    model, *_ = lone
    (part,) = study.Explainer(model, mean=model.mean, std=model.std, windows=[1]).parts(pixels())
    clips = normalised(torch.from_numpy(np.stack(pixels())), model.mean, model.std)
    logits = partial_uniform_logits(model, clips, 1).logits[:, 0]
    assert torch.equal(part.windows[:, 0], (logits > 0).long())


def test_the_side_of_a_lone_logit_is_that_of_its_sign_and_no_other_is_explained(lone, tmp_path):
    model, *_ = lone
    how = {"mean": model.mean, "std": model.std}
    with pytest.raises(study.LoneLogit, match="true classes are explained, and the model has one logit"):
        list(study.Explainer(model, **how).parts(pixels(2), [0, 1]))
    clips = study.Clips([(torch.from_numpy(frames), i) for i, frames in enumerate(pixels(2))], study.Reader(""))
    explainer = study.Explainer(model, **how, time=["reversed"])
    made = study.create(tmp_path, study.configuration(explainer, clips), clips.list)
    with pytest.raises(study.LoneLogit, match="time is changed, and the model has one logit"):
        study.run(made, explainer, clips)


def test_the_command_runs_a_study_of_a_lone_logit_whose_classes_are_0_and_1(tmp_path, videos, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(Lone().state_dict(), tmp_path / "w.pt")
    (videos / "two.txt").write_text("\n".join(f"{number}.mp4 {number % 2}" for number in range(3)))
    words = ["study", "run", "--list", str(videos / "two.txt"), "--model", "test_study_numbers:Lone"]
    words += ["--weights", str(tmp_path / "w.pt"), "--frames", str(FRAMES), "--size", "24", "--device", "cpu"]
    assert main([*words, "--workers", "0", "--out", str(tmp_path / "out")]) == 0
    records = list(study.load_study(tmp_path / "out").records())
    assert [record.label for record in records] == [0, 1, 0]
    assert [record.prediction for record in records] == [int(record.logits > 0) for record in records]
    assert main(["study", "merge", str(tmp_path / "out"), "--min-score", "0", "--wrong-too"]) == 0
    assert main(["study", "report", str(tmp_path / "out"), "--min-score", "0", "--wrong-too"]) == 0


def test_windows_with_a_model_that_lacks_frame_logits_name_the_method_that_it_needs():
    with pytest.raises(ValueError, match=r"give it a method frame_logits\(clip\) -> \(b, n, k\)"):
        study.Explainer(torch.nn.Conv3d(3, 2, 1).eval(), windows=[1])
