"""Help and bad input: at once and on one line."""

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_suite import TINY, start

from fl_attack_bench import suite

COMMANDS = ("run", "list", "show", "doctor", "sync", "communication", "parties", "board build", "board serve")
COMMANDS += ("new defense", "new attack", "check", "submit", "verify", "compare", "regress")


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["board", "--help"], ["list", "attacks"], ["list", "suites"]]
)
def test_help_and_lists_answer_at_once_and_import_nothing_heavy(tmp_path, words):
    heavy = {"torch", "mlflow", "pandas", "seaborn", "matplotlib", "jinja2", "sklearn", "numpy", "ray"}
    script = (
        "import sys\nfrom fl_attack_bench.cli import main\n"
        f"assert main({words}) == 0\n"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        before = processor_seconds()
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
        seconds.append(processor_seconds() - before)
    assert min(seconds) < 0.7  # it is 0.4 on an idle core; `list suites` reads all of them


def processor_seconds():
    """Of all child processes: the same on a busy machine as on an idle one, where it is what the user waits."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_names_every_command(flab):
    status, out, err = flab("--help")
    assert (status, err) == (0, "")
    assert all(command.split()[0] in out for command in COMMANDS)
    assert flab()[:2] == (0, out)
    assert flab("--version") == (0, "fl-attack-bench 0.1.0\n", "")
    for command in COMMANDS:
        assert flab(*command.split(), "--help")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("runn", "No such command 'runn'. Did you mean 'run'?; see `flab --help`"),
        ("run", "Missing argument 'SUITE'; see `flab run --help`"),
        ("run quick --sede 1", "No such option: --sede"),
        ("run quick --seed one", "Invalid value for '--seed'"),
        ("run quick --jobs 0", "Invalid value for '--jobs'"),
        ("board", "Missing command; see `flab board --help`"),
        ("board serve --port 70000", "Invalid value for '--port'"),
        ("board serve --out nowhere", "nowhere: no board here; build one with `flab board build --out nowhere`"),
        ("board build --from nowhere", "nowhere: no such folder; `flab run SUITE` makes one"),
        ("board build --from sqlite:///nowhere.db", "nowhere.db: no such database"),
        ("sync --folder nowhere", "nowhere: no such folder"),
        ("list atacks", "unknown list 'atacks'; did you mean 'attacks'?"),
        ("show gausian_noise", "unknown name or cell 'gausian_noise'; did you mean 'gaussian_noise'"),
        ("show nowhere.py", "attack file "),
        ("show nowhere.yaml", "nowhere.yaml: No such file or directory"),
        ("run quikc", "unknown suite 'quikc'; did you mean 'quick'?"),
        ("run nowhere.yaml", "nowhere.yaml: No such file or directory"),
        ("run quick --task digit-lenet_dlg", "suite 'quick': unknown task 'digit-lenet_dlg'; did you mean 'digits"),
        ("run quick --attack dgl", "--attack: unknown attack 'dgl'; did you mean 'dlg'?"),
        ("run quick --defense gausian_noise", "--defense: unknown defense 'gausian_noise'; did you mean 'gauss"),
        ("run quick --defense ./nowhere.py", "nowhere.py does not exist"),
        ("run quick --defense dlg[", "'dlg[' is no method: write NAME"),
        ("run quick --seed 7", "suite 'quick': seed 7 is none of its seeds (0); another seed is another suite"),
        ("run quick --hardware t5", "unknown hardware profile 't5'; did you mean 't4'?"),
        ("run fedavg-accuracy --attack dlg", "none of the tasks has victims"),
        ("run dlg-2019 --task mnist-lenet_dlg", "mnist.npz: no such file, needed by dataset 'npz:mnist'; put it there"),
        ("run dlg-2019 --download", "no such file, needed by dataset 'npz:mnist'"),
        ("run gradient-leakage", "is not in data; fetch it with `flab run ... --download --data-dir data`"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_status_2(flab, words, message):
    status, out, err = flab(*shlex.split(words))
    assert (status, out) == (2, "")
    assert err.startswith("flab: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("flab-runs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "digit"}, "task 't': unknown dataset 'digit'; did you mean 'digits'?"),
        ({"model": "logistics"}, "task 't': unknown model 'logistics'; did you mean 'logistic'?"),
        ({"model": {"name": "lenet5", "options": {"pol": 1}}}, "unknown key 'pol'; did you mean 'pool'?"),
        ({"datasets": "digits"}, "tiny.yaml: tasks.0.datasets: unknown key 'datasets'; did you mean 'dataset'?"),
    ],
)
def test_a_task_that_cannot_be_played_ends_the_run_before_it_begins(flab, tiny, change, message):
    tiny.write_text(json.dumps(TINY | {"tasks": [TINY["tasks"][0] | change]}))
    status, _, err = flab("run", tiny)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_method_that_refuses_its_parameters_ends_the_run(flab, tiny):
    status, out, err = flab("run", tiny, "--defense", "gaussian_noise[scael=1]", "--no-tracking")
    assert (status, out) == (2, "")
    assert err == "flab: suite 'tiny': defense gaussian_noise[scael=1]: unknown parameter of GaussianNoise 'scael'; did you mean 'scale'?\n"  # fmt: skip  # noqa: E501


def test_an_unexpected_exception_is_not_swallowed(flab, monkeypatch):
    monkeypatch.setattr(suite, "load", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        flab("run", "quick")


def test_control_characters_do_not_reach_the_terminal(flab):
    status, _, err = flab("run", "a\x1b[31m\nb")
    assert status == 2
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_reader_that_leaves_is_no_error(tmp_path):
    program = start(tmp_path, "list", "tasks")
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait(timeout=20) in (0, 1)
    command = f"{shlex.quote(sys.executable)} -c 'from fl_attack_bench.cli import main; main()' list tasks >&-"
    answer = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert "Traceback" not in answer.stderr
