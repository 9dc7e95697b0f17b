"""What ends a program with one line and exit code 2, and what stays a traceback."""

import errno
import os

import numpy as np
import pytest

import demo
from tests.support.demo_workspace import DEMO
from utils.errors import UserError, cli
from utils.media.frame_writers import LineWriter
from utils.media.input_list import read_inputs
from utils.media.sound_file import check_sound_file
from utils.motion_file import Motion


def fails(number, path):
    @cli
    def main():
        raise OSError(number, os.strerror(number), path)

    return main


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.EROFS])
def test_an_unreachable_file_is_one_line(capsys, number):
    with pytest.raises(SystemExit) as end:
        fails(number, "a.wav")()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_faults_keep_their_traceback():
    with pytest.raises(FileNotFoundError):
        fails(errno.ENOENT, "a.wav")()
    with pytest.raises(PermissionError):
        fails(errno.EACCES, None)()


@pytest.mark.parametrize("flag", ["-a", "-s", "-c"])
def test_a_name_of_hundreds_of_letters(refused, no_generation, flag):
    refused(demo.main, [*DEMO, flag, "a" * 300 + ".wav"], "File name too long")


def test_speech_without_permission(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="may not be read"):
        check_sound_file(tmp_path / "a.wav")


def test_a_folder_without_permission_is_not_called_empty(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match="Permission denied"):
        read_inputs(tmp_path)


def test_a_full_disk_names_the_file_of_lines():
    writer = LineWriter("/dev/full")
    with pytest.raises(OSError, match="/dev/full"):
        writer.write(Motion(np.zeros((2, 50)), np.zeros((2, 6))))
