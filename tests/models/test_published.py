"""Public checkpoints: fetched when they are asked for, once, and refused where they are not what they should be."""

import hashlib
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

from lrp3d import models
from lrp3d.commands.command_line import main
from lrp3d.models.making import without_memory
from lrp3d.models.published import PUBLISHED, Published, fetch_weights


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server on this machine that has a checkpoint, and an empty cache; what was asked for is in `asked`."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = models.tsn_resnet(18, num_classes=3, width=8)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        asked = []  # noqa: RUF012

        def do_GET(self):
            self.asked.append(self.path)
            if not self.path.endswith("/net.pt"):
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.address = f"http://127.0.0.1:{server.server_port}/net.pt"
    Handler.sha256, Handler.mib = hashlib.sha256(content).hexdigest(), len(content) / 2**20
    Handler.asked = []
    yield Handler
    server.shutdown()


def put(monkeypatch, served, **more):
    one = Published("ours", served.address, "TSN-R18-f4", "Kinetics-400", 3, "MIT", **more)
    monkeypatch.setitem(PUBLISHED, "ours", one)


def test_weights_are_fetched_once_and_are_those_of_the_server(served, monkeypatch):
    put(monkeypatch, served, sha256=served.sha256[:8], mib=served.mib)
    first = fetch_weights("ours", progress=False)
    assert fetch_weights("ours", progress=False) == first
    assert served.asked == ["/net.pt"]
    assert hashlib.sha256(first.read_bytes()).hexdigest() == served.sha256


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 8}, {"mib": 1.0}])
def test_what_is_not_as_stated_is_refused_and_not_kept(served, monkeypatch, tmp_path, wrong):
    put(monkeypatch, served, **{"sha256": served.sha256, "mib": served.mib, **wrong})
    with pytest.raises(models.CheckpointError, match=r"not what it should be|MiB, and ours has"):
        fetch_weights("ours", progress=False)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_in_the_cache_is_verified_too(served, monkeypatch):
    put(monkeypatch, served, sha256=served.sha256, mib=served.mib)
    path = fetch_weights("ours", progress=False)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(models.CheckpointError, match="another sha256"):
        fetch_weights("ours", progress=False)


def test_files_of_one_name_at_two_addresses_are_two_files(served):
    addresses = [served.address, served.address.replace("net.pt", "elsewhere/net.pt")]
    first, second = (fetch_weights(address, progress=False) for address in addresses)
    assert first != second
    assert fetch_weights(addresses[0], progress=False) == first
    assert served.asked == ["/net.pt", "/elsewhere/net.pt"]


def test_an_address_may_bring_its_digest(served):
    assert fetch_weights(f"{served.address}#sha256={served.sha256}", progress=False).exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nobody", "known are pytorchvideo-slowfast-r50-8x8"),
        ("http://example.org/w.pt", "not encrypted"),
        ("https://example.org/w.pt#md5=1", "#sha256="),
        ("https://example.org/", "names no file"),
    ],
)
def test_what_cannot_be_fetched_is_refused_before_anything_is_asked(served, source, said):
    with pytest.raises(ValueError, match=said):
        fetch_weights(source)
    assert served.asked == []


def test_a_server_without_the_file_is_named(served):
    with pytest.raises(models.CheckpointError, match="cannot be fetched"):
        fetch_weights(served.address.replace("net", "no"), progress=False)


def test_the_command_line_takes_a_name_with_its_model_and_its_classes(served, monkeypatch, tmp_path, capsys):
    put(monkeypatch, served, sha256=served.sha256)
    video = tmp_path / "clip.pt"
    torch.save(torch.randint(0, 256, (8, 40, 40, 3), dtype=torch.uint8), video)
    (tmp_path / "labels.txt").write_text("a\nb\nc")
    words = ["explain", str(video), "--weights", "ours", "--size", "32", "--labels", str(tmp_path / "labels.txt")]
    assert main([*words, "--option", "width=8"]) == 0
    assert "TSN-R18-f4" in capsys.readouterr().out
    assert main([*words, "--weights", "not/there.pt", "--model", "TSN-R18-f4"]) == 1
    assert served.asked == ["/net.pt"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("torchvision-resnet5", "did you mean torchvision-resnet"), ("elsewhere", "there are pytorchvideo-slowfast")],
)
def test_a_name_that_is_not_public_is_told_from_a_file_that_is_not_there(name, said, tmp_path, capsys):
    video = tmp_path / "clip.pt"
    torch.save(torch.randint(0, 256, (8, 40, 40, 3), dtype=torch.uint8), video)
    words = ["explain", str(video), "--model", "TSN-R18-f4", "--weights"]
    assert main([*words, name]) == 1
    assert said in capsys.readouterr().err
    assert main([*words, str(tmp_path / "w.pt")]) == 1
    assert "no public one" not in capsys.readouterr().err


def test_every_published_name_has_a_model_that_can_be_built():
    for one in PUBLISHED.values():
        assert one.url.startswith("https://")
        assert one.licence
        without_memory(partial(models.build, one.model, one.classes))


def test_the_documentation_has_the_address_licence_and_classes_of_every_published_name():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `") and "<http" in line]
    assert len(lines) == len(PUBLISHED)
    for line, one in zip(lines, PUBLISHED.values(), strict=True):
        name, _, dataset, classes, licence, stated, address = (cell.strip() for cell in line.strip("|").split("|"))
        assert (name, dataset, classes) == (f"`{one.name}`", one.dataset, str(one.classes))
        assert (licence, address) == (one.licence.split(" (")[0], f"<{one.url}>")
        assert stated == (f"{one.mib:.1f} MiB, sha256 `{one.sha256}`" if one.mib else stated)
