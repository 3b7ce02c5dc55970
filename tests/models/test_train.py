"""Training learns, and a run that was killed ends where an uninterrupted one does."""

import json
import re
from pathlib import Path

import pytest
import torch
from lrp3d.models import CheckpointError, Recipe, VideoClips, evaluate, load_model, train

from lrp3d import models
from lrp3d.video import VideoError

RECIPE = Recipe(epochs=3, batch_size=4, learning_rate=0.02, warmup_epochs=1, clip_gradient=5.0, seed=3)


def network(seed=0, **options):
    torch.manual_seed(seed)
    return models.tam_resnet(18, 2, 4, width=8, **options)


def brightening(count=16, frames=4, pixels=16):
    """Clips that grow brighter (class 1) or darker (class 0): only their order tells."""
    generator = torch.Generator().manual_seed(5)
    ramp = torch.linspace(-1, 1, frames).view(1, frames, 1, 1)
    signs = [1 - 2 * (i % 2) for i in range(count)]
    noise = 0.1 * torch.randn(count, 3, frames, pixels, pixels, generator=generator)
    return [(noise[i] + sign * ramp, (sign + 1) // 2) for i, sign in enumerate(signs)]


class Augmented(torch.utils.data.Dataset):
    """Clips with random noise, from a source that fails after so many clips, as a killed process would."""

    def __init__(self, clips, lifetime=10**9):
        self.clips, self.lifetime = clips, lifetime

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        self.lifetime -= 1
        if self.lifetime < 0:
            raise KeyboardInterrupt
        clip, label = self.clips[index]
        return clip + 0.1 * torch.randn(clip.shape), label


def test_training_learns_what_only_the_order_of_frames_tells(tmp_path):
    clips = brightening()
    model = network()
    history = train(
        model, clips, tmp_path, epochs=12, batch_size=4, learning_rate=0.05, validation=clips, progress=False
    )
    assert [epoch.epoch for epoch in history] == list(range(12))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].validation == evaluate(model, clips) == 1.0
    assert not model.training
    again = load_model(tmp_path / "model.safetensors")
    assert all(torch.equal(x, again.state_dict()[name]) for name, x in model.state_dict().items())


@pytest.mark.parametrize("lifetime", [10, 30, 47])
def test_a_killed_run_goes_on_to_the_very_same_weights(tmp_path, lifetime):
    whole, killed = network(dropout=0.5), network(dropout=0.5)
    expected = train(whole, Augmented(brightening()), tmp_path / "whole", RECIPE, progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Augmented(brightening(), lifetime), tmp_path / "killed", RECIPE, progress=False)

    fresh = network(seed=77, dropout=0.5)  # another process, other random weights
    found = train(fresh, Augmented(brightening()), tmp_path / "killed", RECIPE, progress=False)
    assert found == expected
    for (name, mine), theirs in zip(whole.state_dict().items(), fresh.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {"training.pt", "model.safetensors"}


def test_a_finished_run_is_not_run_again(tmp_path):
    first = train(network(), brightening(), tmp_path, RECIPE, progress=False)
    assert train(network(), Augmented(brightening(), 0), tmp_path, RECIPE, progress=False) == first


def test_every_epoch_is_reported_once_it_is_saved(tmp_path):
    reported = []

    def report(epoch):
        saved = torch.load(tmp_path / "training.pt", weights_only=True)
        reported.append((epoch.epoch, len(saved["history"])))

    train(network(), brightening(8), tmp_path, RECIPE, progress=False, report=report)
    assert reported == [(0, 1), (1, 2), (2, 3)]


def test_a_damaged_run_is_named_and_not_lost(tmp_path):
    clips = brightening(8)
    train(network(), clips, tmp_path, RECIPE, progress=False)
    file = tmp_path / "training.pt"
    damaged = file.read_bytes()[:-2000]
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"training\.pt is damaged .* put back a copy of it, or delete it"):
        train(network(), clips, tmp_path, RECIPE, progress=False)
    assert file.read_bytes() == damaged


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    model = network()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(model, brightening(4), tmp_path, epochs=1, batch_size=4, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_belongs_to_one_recipe_and_model(tmp_path):
    train(network(), brightening(4), tmp_path, epochs=1, batch_size=4, progress=False)
    with pytest.raises(ValueError, match=r"another recipe, model or data \(epochs 1 there and 2 here\): start the"):
        train(network(), brightening(4), tmp_path, epochs=2, batch_size=4, progress=False)
    with pytest.raises(ValueError, match=r"another recipe, model or data \(kernel_size 3 there and 5 here\)"):
        train(network(kernel_size=5), brightening(4), tmp_path, epochs=1, batch_size=4, progress=False)


def test_mixed_precision_is_for_gpus(tmp_path):
    with pytest.raises(ValueError, match=r"mixed precision needs a GPU, the model is on cpu"):
        train(network(), brightening(4), tmp_path, mixed_precision=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_mixed_precision_trains_full_precision_weights(tmp_path):
    model = network()
    history = train(model, brightening(), tmp_path, epochs=2, batch_size=4, device="cuda", progress=False)
    assert torch.tensor(history[-1].loss).isfinite()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_epoch(tmp_path):
    broken = [(clip * torch.nan, label) for clip, label in brightening(4)]
    with pytest.raises(FloatingPointError, match=r"the loss of epoch 1 is nan"):
        train(network(), broken, tmp_path, epochs=1, batch_size=4, progress=False)
    saved = torch.load(tmp_path / "training.pt", weights_only=True)
    assert saved["history"] == []
    assert all(value.isfinite().all() for value in saved["model"].values())
    assert not (tmp_path / "model.safetensors").exists()


def test_a_last_step_that_goes_too_far_ends_with_no_model(tmp_path):
    """The loss is measured before the step, and is finite."""
    model = network()
    model.fc.weight.data *= 1e4  # and so are the gradients of what is below
    with pytest.raises(FloatingPointError, match=r"diverged: weights .* after epoch 1; start anew .* below 1e\+38"):
        train(model, brightening(4), tmp_path, epochs=1, batch_size=4, learning_rate=1e38, progress=False)
    assert not (tmp_path / "model.safetensors").exists()


class _Unreadable(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise VideoError(f"clip {index} cannot be read")


def test_of_an_error_in_another_process_the_message_is_told_without_its_traceback(tmp_path):
    with pytest.raises(VideoError, match=r"^clip \d cannot be read$"):
        train(network(), _Unreadable(), tmp_path, epochs=1, batch_size=4, workers=1, progress=False)


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    recipe = Recipe(epochs=10, learning_rate=0.4, warmup_epochs=2)
    rates = [recipe.learning_rate_at(epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    assert Recipe(epochs=1, warmup_epochs=1).learning_rate_at(1) == 0.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be a number from 0 on, got -1.0"),
        ({"clip_gradient": -1.0}, "clip_gradient must be a number above 0, or None, got -1.0"),
        ({"seed": -3}, "seed must be at least 0, got -3"),
        ({"epochs": 2, "warmup_epochs": 3}, "between 0 and 2, got 3"),
        ({"lr": 0.1}, "a recipe has epochs, .*, not lr"),
        ({"recipe": RECIPE, "epochs": 2}, r"not both"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        train(network(), brightening(4), tmp_path, **options)


def test_no_clips_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no clips to train on"):
        train(network(), [], tmp_path)


def test_clips_are_sampled_from_videos_and_normalised():
    model = network()
    video = torch.arange(10, dtype=torch.uint8).view(1, 10, 1, 1).expand(3, 10, 2, 2) * 25
    clips = VideoClips([video, lambda: video / 255], [0, 1], model, lambda length: [0, length // 2, length - 1])
    assert len(clips) == 2
    (bytes_clip, first), (float_clip, second) = clips[0], clips[1]
    assert (first, second) == (0, 1)
    torch.testing.assert_close(bytes_clip, float_clip)
    low, _ = model.input_range
    assert bytes_clip[:, 0, 0, 0].tolist() == pytest.approx(low, rel=1e-5)
    with pytest.raises(ValueError, match=r"1 videos have 2 labels"):
        VideoClips([video], [0, 1], model, lambda length: [0])


def test_the_state_of_a_training_names_the_file_that_says_its_model(tmp_path):
    train(network(), brightening(4), tmp_path, epochs=1, batch_size=4, progress=False)
    said = "is the state of a training, .* take model.safetensors, .*; or make it with lrp3d.models.build"
    with pytest.raises(CheckpointError, match=f"training.pt {said}"):
        load_model(tmp_path / "training.pt")
    assert load_model(tmp_path / "model.safetensors").num_classes == network().num_classes


def test_a_run_says_what_it_was(tmp_path):
    train(network(), brightening(4), tmp_path, epochs=1, batch_size=4, progress=False)
    saved = torch.load(tmp_path / "training.pt", weights_only=True)
    recipe, (builder, arguments), _ = json.loads(saved["identity"])
    assert Recipe(**recipe) == Recipe(epochs=1, batch_size=4)
    assert (builder, arguments["frames"]) == ("tam_resnet", 4)


FOREIGN = {
    "is damaged or no state of a training (is not a complete checkpoint: it is a text": b"hello world",
    "is damaged or no state of a training (is not a complete checkpoint": b"",
    "is damaged or no state of a training (holds more than tensors (pathlib.": Path("x"),
    "is another kind of checkpoint, not the state of a training (it holds fc.weight, and no identity)": {
        "fc.weight": torch.zeros(1)
    },
}


@pytest.mark.parametrize("said", FOREIGN)
def test_a_file_that_is_no_state_of_a_training_is_named(tmp_path, said):
    content, file = FOREIGN[said], tmp_path / "training.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=r"training\.pt") as refused:
        train(network(), brightening(2), tmp_path, epochs=1, batch_size=1, progress=False)
    assert said in str(refused.value)
    assert "weights_only" not in str(refused.value)
    assert re.search("move it away|delete it to train anew", str(refused.value))
