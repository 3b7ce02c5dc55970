"""Explanations go out to other tools with all they hold: plain values, tables, arrays, captum's calls, trackers."""

import json
import sys
from types import ModuleType

import einops
import numpy as np
import pytest
import torch
from studies import make_study, record
from torch import nn

import lrp3d
from lrp3d.commands.command_line import main
from lrp3d.explanation.tables import columns, variables
from lrp3d.integrations import LRP, LayerLRP, numbers, track
from lrp3d.study import clip_columns, write_parquet


def net(biased=True):
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 4, 3, padding=1, bias=biased), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 5, bias=biased)).eval()


@pytest.fixture(scope="module")
def clip():
    return torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def explanation(clip):
    return lrp3d.explain(net(), clip, [1, 3], floor=True)


# Plain values


def test_a_dict_has_every_field_and_json_takes_it(explanation):
    found = json.loads(json.dumps(explanation.to_dict(maps=True)))
    assert set(found) == set(vars(explanation))
    assert torch.tensor(found["relevance"]).equal(explanation.relevance)
    assert torch.tensor(found["matrix"]).equal(explanation.matrix)
    assert [line["layer"] for line in found["ledger"]] == [entry.layer for entry in explanation.ledger]
    assert "relevance" not in explanation.to_dict()


# Tables


def test_a_table_has_a_row_for_each_cell_of_the_matrices(explanation):
    table = columns(explanation)
    assert {len(column) for column in table.values()} == {2 * 4 * 4}
    for clip, row, column, relevance, floor, atr in zip(
        *(table[name] for name in ("clip", "row", "column", "relevance", "floor", "atr")), strict=True
    ):
        assert relevance == explanation.matrix[clip, row, column]
        assert floor == explanation.floor[clip, row, column]
        assert atr == explanation.atr[clip, row]
    assert [table["target"][0], table["target"][-1]] == [1, 3]


def test_without_a_matrix_a_table_has_a_row_for_each_frame(clip):
    found = lrp3d.explain(net(), clip, temporal=False)
    table = columns(found)
    assert list(table) == ["clip", "target", "logit", "frame", "relevance"]
    assert torch.tensor(table["relevance"]).view(2, 4).equal(found.frame_relevance)
    images = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(ValueError, match="has no frames to make a table of"):
        columns(lrp3d.explain(images, torch.rand(1, 3, 8, 8)))


def test_arrays_have_an_axis_name_for_each_axis(explanation, clip):
    found = variables(explanation)
    assert found["relevance"][0] == ("clip", "channel", "frame", "y", "x")
    assert found["matrix"][0] == ("clip", "row", "column")
    sizes: dict = {}
    for axes, array in found.values():
        assert len(axes) == array.ndim
        for axis, size in zip(axes, array.shape, strict=True):
            assert sizes.setdefault(axis, size) == size
    named = {name for name, x in vars(explanation).items() if isinstance(x, torch.Tensor)}
    assert set(found) == named


def test_pathways_have_axes_of_their_own():
    model = lrp3d.models.slowfast_resnet50(num_classes=3, frames=8, alpha=4, width=8).eval()
    pathways = [torch.rand(1, 3, 2, 32, 32), torch.rand(1, 3, 8, 32, 32)]
    found = variables(lrp3d.explain(model, pathways, temporal=False))
    assert found["relevance_0"][0] == ("clip", "channel_0", "frame_0", "y_0", "x_0")
    assert [found[f"relevance_{i}"][1].shape[2] for i in range(2)] == [2, 8]


def stand_in(monkeypatch, name, **names):
    module = ModuleType(name)
    module.__dict__.update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_pandas_and_xarray_are_asked_only_where_they_are_needed(explanation, monkeypatch):
    stand_in(monkeypatch, "pandas", DataFrame=dict)
    stand_in(monkeypatch, "xarray", Dataset=lambda variables, attrs: (set(variables), attrs))
    assert explanation.to_dataframe() == columns(explanation)
    assert explanation.to_xarray()[1]["unit"] == "frames"
    for package, method in (("pandas", explanation.to_dataframe), ("xarray", explanation.to_xarray)):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"needs {package}: .*pip install (--python \S+ )?{package}"):
            method()


def test_the_real_pandas_and_xarray_take_them(explanation):
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    table = explanation.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    sums = table.groupby(["clip", "row"]).relevance.sum()
    np.testing.assert_allclose(sums, explanation.matrix.sum(2).flatten(), rtol=1e-5)
    found = explanation.to_xarray()
    assert isinstance(found, xarray.Dataset)
    np.testing.assert_array_equal(found.matrix.isel(clip=1), explanation.matrix[1])


def test_records_become_a_row_for_each_clip(tmp_path, monkeypatch):
    records = [record(number, label=number) for number in range(3)]
    table = clip_columns(records)
    assert {len(column) for column in table.values()} == {3}
    assert table["avg_atr"] == [one.avg_atr for one in records]
    assert torch.tensor(table["matrix"]).equal(torch.stack([one.matrix for one in records]))
    written: list = []

    def write_table(table, path):
        written.append(table)
        path.write_bytes(b"PAR1")

    arrow = stand_in(monkeypatch, "pyarrow", table=lambda columns: columns)
    arrow.parquet = stand_in(monkeypatch, "pyarrow.parquet", write_table=write_table)
    write_parquet(records, tmp_path / "clips.parquet")
    assert written == [table]
    with pytest.raises(ValueError, match="no records"):
        write_parquet([], tmp_path / "clips.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="writing Parquet needs pyarrow"):
        write_parquet(records, tmp_path / "clips.parquet")


def test_the_real_pyarrow_reads_back_what_merge_wrote(tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    study = make_study(tmp_path / "study", 2)
    study.record_path(0).parent.mkdir(parents=True)
    for number in range(2):
        record(number, config=study.hash).save(study.record_path(number))
    assert main(["study", "merge", str(study.folder), "--parquet", str(tmp_path / "clips.parquet")]) == 0
    assert parquet.read_table(tmp_path / "clips.parquet").to_pydict()["name"] == ["clip 0.mp4", "clip 1.mp4"]


# Captum


def test_attribute_is_the_relevance_of_explain_and_delta_what_is_missing_to_the_logit(clip):
    model = net()
    relevance, delta = LRP(model).attribute(clip, target=2, return_convergence_delta=True)
    found = lrp3d.explain(model, clip, 2, contrastive=False, temporal=False)
    assert relevance.equal(found.relevance)
    torch.testing.assert_close(delta, found.logits[:, 2] - relevance.sum((1, 2, 3, 4)))
    (one,) = LRP(model).attribute((clip,), target=2)  # a tuple in, a tuple out
    assert one.equal(relevance)
    contrastive = LRP(model, contrastive=True)
    assert bool((contrastive.attribute(clip) >= 0).all())
    with pytest.raises(ValueError, match="has no convergence delta"):
        contrastive.attribute(clip, return_convergence_delta=True)
    with pytest.raises(TypeError, match="additional_forward_args"):
        LRP(model).attribute(clip, additional_forward_args=(1,))


def test_the_delta_of_a_lone_logit_is_that_of_the_class_that_its_sign_says(clip):
    model = net()
    model[-1] = nn.Linear(model[-1].in_features, 1)
    nn.init.constant_(model[-1].bias, -5.0)
    relevance, delta = LRP(model).attribute(clip, return_convergence_delta=True)
    assert (model(clip) < 0).all()
    torch.testing.assert_close(delta, -model(clip)[:, 0].detach() - relevance.sum((1, 2, 3, 4)))


@pytest.mark.parametrize("layout", ["(b t) c h w", "tbchw"])
def test_the_delta_is_that_of_each_clip_in_every_layout(clip, layout):
    class InLayout(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return self.inner(einops.rearrange(x, f"{axes} -> b c t h w", b=2))

    axes = layout if layout[0] == "(" else " ".join(layout)
    clips = torch.cat([clip, clip.flip(2)])[:2]
    laid_out = einops.rearrange(clips, f"b c t h w -> {axes}")
    relevance, delta = LRP(InLayout().eval(), layout=layout).attribute(
        laid_out, target=2, return_convergence_delta=True
    )
    _, wanted = LRP(net()).attribute(clips, target=2, return_convergence_delta=True)
    torch.testing.assert_close(delta, wanted, atol=1e-5, rtol=1e-4)
    assert relevance.shape == laid_out.shape


def test_a_layers_attribution_sums_to_the_logit_as_the_inputs_does(clip):
    model = net()
    relevance, delta = LayerLRP(model, model[0]).attribute(clip, target=2, return_convergence_delta=True)
    assert relevance.shape == model[0](clip).shape
    assert float(delta.abs().max()) < 1e-5
    assert relevance.equal(LayerLRP(model, "0").attribute(clip, target=2))
    with pytest.raises(ValueError, match="is not a module of the model"):
        LayerLRP(model, nn.ReLU())


def test_where_both_have_to_be_gradient_times_input_captum_agrees(clip):
    attr = pytest.importorskip("captum.attr")
    model = nn.Sequential(nn.Linear(12, 8, bias=False), nn.ReLU(), nn.Linear(8, 5, bias=False)).eval()
    theirs = attr.LRP(model).attribute(clip.flatten(1)[:, :12], target=1)
    ours = LRP(model, "epsilon").attribute(clip.flatten(1)[:, :12], target=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


# Trackers


class Writer:
    def __init__(self):
        self.scalars, self.figures = {}, []

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def add_figure(self, name, figure, step):
        self.figures.append((name, len(figure.axes) > 0, step))


class Run:
    def log(self, values, step):
        self.values, self.step = values, step


def test_both_trackers_get_the_same_numbers_and_a_picture(explanation, monkeypatch):
    writer, run = Writer(), Run()
    stand_in(monkeypatch, "wandb", Image=lambda figure: "a picture")
    track(writer, explanation, step=3, clip=1)
    track(run, explanation, step=3, clip=1)
    expected = {f"explanation/{name}": value for name, value in numbers(explanation, 1).items()}
    assert writer.scalars == {(name, 3): value for name, value in expected.items()}
    assert writer.figures == [("explanation/matrix", True, 3)]
    assert (run.values, run.step) == ({**expected, "explanation/matrix": "a picture"}, 3)
    assert expected["explanation/avg_atr"] == float(explanation.avg_atr[1])
    assert "explanation/above_floor" in expected
    with pytest.raises(TypeError, match="not of type dict"):
        track({}, explanation)


def test_the_real_tensorboard_writes_a_file(explanation, tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        track(writer, explanation, step=1)
    assert [path.stat().st_size > 1000 for path in tmp_path.iterdir()] == [True]
