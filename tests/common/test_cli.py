import os
import shlex
import shutil
import subprocess
import sys

import psutil
import pytest

from stages.common import cli, files
from stages.common.cli import UserError
from tests.support import ROOT


def test_a_user_error_is_one_line_and_exit_status_1(capsys):
    def main():
        raise cli.UserError("a: wrong\n  because")

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "ERROR: a: wrong because\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("a\u202eleft", r"a\u202eleft"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\udcff", r"\udcff"),
        ("Käse & 小狗: it's", "Käse & 小狗: it's"),
    ],
)
def test_an_error_shows_what_a_terminal_would_obey_or_hide(capsys, text, shown):
    def main():
        raise cli.UserError(text)

    with pytest.raises(SystemExit):
        cli.run(main)
    assert capsys.readouterr().err == f"ERROR: {shown}\n"


@pytest.mark.parametrize(
    ("name", "marks", "text"),
    [
        ("<b>{x}", "[<{]", "<\u2060b>{\u2060x}"),
        ("a\u202e<b", "[<{]", r"'a\u202e<" + "\u2060b'"),
        ("www.WWW.x", r"www(?=\.)", "www\u2060.WWW\u2060.x"),
        ("Käse & 小狗", "[<{]", "Käse & 小狗"),
    ],
)
def test_a_joiner_follows_every_mark_of_an_inert_name(name, marks, text):
    assert cli.inert(name, marks) == text


def test_a_file_that_may_not_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()

    def main():
        with files.replacing(output=tmp_path / "file/output"):
            pass

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error and error.count("\n") == 1


def test_what_is_said_in_a_quiet_block_shows_only_if_it_fails(capfd):
    with cli.quiet():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(UserError), cli.quiet():  # says enough by itself
        os.write(2, b"chatter\n")
        raise UserError("wrong")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError), cli.quiet():
        os.write(2, b"chatter\n")
        raise ValueError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "chatter\nafter\n"


@pytest.mark.parametrize("shell", ["sh", "bash"])  # of which some stay above the command and some give way to it
@pytest.mark.parametrize("killed", ["dvc", "shell"])
def test_a_stage_ends_with_the_dvc_that_runs_it(shell, killed):
    if not (path := shutil.which(shell)):
        pytest.skip(f"no {shell} here")
    code = "import time; from stages.common import cli; cli.start(); print(1, flush=True); time.sleep(60)"
    stage = f"{sys.executable} -c '{code}'"
    dvc = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({stage!r}, shell=True, executable={path!r})"],
        cwd=ROOT,
        env={**os.environ, "SHELL": path, "DVC_STAGE": "split"},
        stdout=subprocess.PIPE,
    )
    dvc.stdout.readline()
    below = psutil.Process(dvc.pid).children(recursive=True)
    (dvc if killed == "dvc" else below[0]).kill()
    dvc.wait(10)
    assert psutil.wait_procs(below, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (43_008, "43.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2.74e6, "2.7 MB"),
        (12_345_678_901, "12.3 GB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_bytes_have_the_unit_in_which_they_are_not_zero(count, text):
    assert cli.counted_bytes(count) == text


SCRIPT = """
import sys
from stages.common import cli
cli.start()
def main():
    text = sys.stdin.read() if "-" in sys.argv else ""
    with open("file", "w") as file:
        for line in range(int(sys.argv[1])):
            print("a line of some length")
        file.write("written")
    if "-" in sys.argv and not text:
        raise cli.UserError("nothing to read.")
cli.run(main)
"""


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("1 - <&-", 1, "ERROR: nothing to read.\n"),
        ("1 >&-", 0, ""),
        ("100000 >&-", 0, ""),
        ("1 - <&- >&-", 1, "ERROR: nothing to read.\n"),
        ("1 - <&- >&- 2>&-", 1, ""),
        ("100000 | head -1", 128 + 13, ""),
        ("100000 | true", 128 + 13, ""),
    ],
)
def test_closed_streams_and_pipes_end_in_no_traceback(tmp_path, end, status, error):
    command = f"{sys.executable} -c {shlex.quote(SCRIPT)} {end}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stderr == error and ended.returncode == status
    if status != 128 + 13:
        assert (tmp_path / "file").read_text() == "written"


@pytest.mark.parametrize("tool", ["compare", "sweep", "repeat_seeds"])
def test_help_ends_with_its_pipe(tool):
    command = f"{sys.executable} -m stages.tools.{tool} --help | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr == "" and ended.returncode in (0, 128 + 13)


IMPORTS = """
from stages.model import backend
backend.start()
import keras, matplotlib.pyplot, tensorflow
print(matplotlib.get_backend(), keras.config.backend(), keras.config.image_data_format())
"""


def test_variables_of_other_programs_break_no_import(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "image_data_format": "channels_first"}')
    others = {
        "MPLBACKEND": "module://matplotlib_inline.of_another_environment",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "MPLCONFIGDIR": "/dev/null/none",
        "KERAS_BACKEND": "torch",
        "KERAS_HOME": str(tmp_path),
        "TF_USE_LEGACY_KERAS": "1",
    } | dict.fromkeys(cli.FAIL_AT_IMPORT, "--nonsense")
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, env={**os.environ, **others}, capture_output=True, text=True
    )
    assert ran.stdout.lower() == "agg tensorflow channels_last\n", ran.stderr


def test_usage_and_description_of_a_command_are_its_docstring():
    parser = cli.parser(
        "Counts.\n\n    python -m count FOLDER [--all]\n\n    --all  hidden files, too\n\n" + "Prints. " * 20
    )
    usage, counts, option, prints = parser.format_help().strip().split("\n\n")
    assert (usage, counts) == ("usage: python -m count FOLDER [--all]", "Counts.")
    assert option == "    --all  hidden files, too" and len(prints.splitlines()) == 2
    assert cli.parser("Has no usage.").usage is None


@pytest.mark.parametrize("tool", ["compare", "predict"])
def test_python_without_docstrings_runs_the_tools(tool):
    command = [sys.executable, "-OO", "-m", f"stages.tools.{tool}", "nothing", *["none"] * (tool == "compare")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr.startswith("ERROR: ") and len(ran.stderr.splitlines()) == 1
