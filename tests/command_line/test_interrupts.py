"""Ctrl-C ends a command with 130 and one line, wherever it meets it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lrp3d.commands import interrupts
from lrp3d.commands.command_line import main
from lrp3d.commands.interrupts import between_imports
from lrp3d.video.pyav import LocalFile

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows sends no such signal")


@pytest.fixture(autouse=True)
def listening():
    """In the background, where tests may run, interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted():
    os.kill(os.getpid(), signal.SIGINT)


MODULE = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(9): pass\nwhole = True\n"


def test_an_interrupt_waits_for_the_end_of_an_import(folder, monkeypatch):
    Path("half_imported.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    reached = []

    def command():
        import half_imported

        reached.append(half_imported.whole)
        threading.Event().wait(60)
        reached.append("the end")

    with pytest.raises(KeyboardInterrupt), between_imports():
        command()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_the_latest_at_the_end(folder, monkeypatch):
    Path("half_imported_too.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(interrupts, "AGAIN", 60)
    with pytest.raises(KeyboardInterrupt), between_imports():
        import half_imported_too  # noqa: F401


def test_an_import_that_does_not_end_is_interrupted_nevertheless(folder, monkeypatch):
    Path("endless.py").write_text(MODULE.replace("for _ in range(9)", "while True"))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(interrupts, "PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt), between_imports():
        import endless  # noqa: F401


def test_an_interrupt_waits_for_the_end_of_a_callback_of_ffmpeg():
    class File:
        def seek(self, *where):
            interrupted()
            for _ in range(9):
                pass
            return 7

    reached = []

    def command():
        reached.append(LocalFile(File()).seek(3))
        threading.Event().wait(60)
        reached.append("the end")

    with pytest.raises(KeyboardInterrupt), between_imports():
        command()
    assert reached == [7]


class Lost:
    def __del__(self):
        interrupted()


def test_an_interrupt_that_c_loses_comes_again():
    before = sys.unraisablehook

    def command():
        lost = Lost()
        del lost
        threading.Event().wait(60)
        pytest.fail("nothing came")

    with pytest.raises(KeyboardInterrupt), between_imports():
        command()
    assert sys.unraisablehook is before


def test_interrupts_that_are_ignored_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with between_imports():
        interrupted()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_an_interrupt_while_arguments_are_read_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("lrp3d.commands.command_line._parser", interrupted)
    assert main(["explain", "x.mp4"]) == 130
    assert capsys.readouterr().err == "lrp3d: interrupted\n"


def test_an_error_that_c_makes_of_an_interrupt_is_an_interrupt(monkeypatch, capsys):
    def lost_in_c(options):
        try:
            interrupted()
            threading.Event().wait(60)
        except KeyboardInterrupt:
            raise ValueError("a record is damaged: delete it") from None

    monkeypatch.setattr("lrp3d.commands.open.run", lost_in_c)
    assert main(["open", "out"]) == 130
    assert capsys.readouterr().err == "lrp3d: interrupted\n"


def test_an_interrupt_before_the_command_line_is_there_is_one_line(monkeypatch, capsys):
    from lrp3d import __main__

    monkeypatch.setattr("lrp3d.commands.command_line.main", interrupted)
    assert __main__.main() == 130
    assert capsys.readouterr().err == "lrp3d: interrupted\n"


def test_reading_the_arguments_of_a_command_imports_no_torch():
    code = "import sys; from lrp3d.commands.command_line import _parser; "
    code += "_parser().parse_args(['explain', 'x.mp4', '--model', 'y']); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
