"""A stand-in for ``fl_attack_bench.play`` without networks, which misbehaves where a defense's parameters say so.

In a worker it is what ``--play stand_in:play`` names. Run as a program it is a parent: it plays its suite in the
folder that is its argument.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from fl_attack_bench import jobs
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.hardware import Machine, load
from fl_attack_bench.jobs import Settings
from fl_attack_bench.record import MethodUsed
from fl_attack_bench.suite import Suite

PLAY = "stand_in:play"
calibrated = []
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).resolve().parent)}
MACHINE = Machine(cpu="stand-in", cores=2, memory_gib=4, gpus=[], system="test")


def play(job, settings):
    note(settings, job, "begin")
    try:
        parameters = job.cell.defense.parameters
        if parameters.get("at") in (job.kind, None):
            misbehave(parameters.get("behave"))
        time.sleep(float(parameters.get("sleep", 0)))
        with jobs.publishing(job, settings.work) as folder:
            publish(job, folder)
    finally:
        note(settings, job, "end")


def misbehave(how):
    if how == "hang":
        time.sleep(600)
    elif how == "crash":
        print("about to crash")
        os.kill(os.getpid(), 11)
    elif how == "killed":
        os.kill(os.getpid(), 9)
    elif how == "exit":
        os._exit(3)
    elif how == "sys.exit":
        sys.exit(4)
    elif how == "memory":
        hold = [b"x" * 2**20 for _ in range(500)]
        time.sleep(60)
        del hold
    elif how == "child memory":
        subprocess.run([sys.executable, "-c", "import time; x = b'x' * 2**29; time.sleep(60)"], check=False)
    elif how == "no memory":
        raise MemoryError("nothing left")
    elif how == "allocator":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
    elif how == "raise":
        raise ValueError("bad luck at 0x7f0011223344")
    elif how == "skip":
        raise SkipCell("not on this task")
    elif how == "user":
        raise UserError("no data: run with --download")
    elif how == "garbage":
        for descriptor in range(3, 20):
            try:
                if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:"):
                    os.write(descriptor, b"{not json\n")
            except OSError:
                pass
        time.sleep(60)
    elif how == "flood":
        for descriptor in range(3, 20):
            try:
                if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:"):
                    for _ in range(6):
                        os.write(descriptor, b"x" * 1_000_000)
            except OSError:
                pass
        time.sleep(60)
    elif how == "print":
        print("noise on stdout")
        os.write(1, b'{"id": 0, "status": "ok"}\n')
        print("noise on stderr", file=sys.stderr)
    elif how == "read":
        assert sys.stdin.read() == ""


def publish(job, folder):
    score = int(hashlib.sha256(job.key.encode()).hexdigest()[:4], 16) / 65536
    result = {
        "centralised": {"accuracy": score},
        "training": {
            "utility": {"accuracy": score, "curve": [[0, 0.1], [1, score]], "diverged": False},
            "cost": {
                "rounds": 1,
                "exchanges": 2,
                "bytes_up": 10,
                "bytes_down": 20,
                "bytes_peers": 0,
                "bytes_total": 300,
                "network": {"LAN": 0.1},
            },
            "privacy": None,
            "dataset_fingerprint": "f" * 64,
        },
        "timing": {"client_seconds": time.time() % 1, "defense_seconds": 0.1, "server_seconds": 0.2},
        "attack": {
            "reconstructed": [moment("initial", score), moment("trained", score)],
            "dataset_fingerprint": "f" * 64,
        },
        "corrupted": {
            "integrity": {
                "clients": 1,
                "accuracy": score,
                "curve": [[1, score]],
                "failed_rounds": 1,
                "failures": ["x"],
            },
            "dataset_fingerprint": "f" * 64,
        },
    }[job.kind]
    if job.cell.defense.parameters.get("behave") == "nonsense" and job.kind == "training":
        result["utility"]["accuracy"] = 7
    (folder / jobs.RESULT).write_text(json.dumps(result))
    if job.kind == "attack":
        pictures(folder / "reconstructions.npz")


def pictures(path):
    """An npz of two grey victims, made without numpy."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 4, 4), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(range(0, 256, 8))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("originals", "initial", "trained"):
            archive.writestr(zipfile.ZipInfo(name + ".npy"), data)
    path.write_bytes(out.getvalue())


def moment(name, score):
    victim = {
        "victim": 0,
        "mse": score,
        "mse_raw": score,
        "psnr": 10.0,
        "ssim": 0.5,
        "label": 1,
        "label_recovered": 1,
        "objective": 0.0,
        "iterations": 3,
        "diverged": False,
    }
    return {"moment": name, "victims": [victim], "curve": [1.0, 0.5], "seconds": time.time() % 1}


def note(settings, job, what):
    with (settings.work.parent / "events").open("a") as stream:
        stream.write(f"{time.monotonic()} {what} {job.kind} {job.key}\n")


def describe(kind, spec):
    if "unknown" in spec.parameters:
        raise UserError(f"{kind} {spec.label}: unknown parameter 'unknown'")
    if spec.parameters.get("behave") == "broken import":
        os.kill(os.getpid(), 11)
    name = Path(spec.name).stem
    digest = hashlib.sha256(Path(spec.name).read_bytes()).hexdigest()
    return MethodUsed(
        name=name,
        title=name,
        paper="https://example.org",
        parameters=spec.parameters,
        source_sha256=digest,
        origin="path",
    )


def calibrate(profile):
    """The figures that FIGURES plants, one after the other."""
    planted = json.loads(os.environ.get("FIGURES", "[]"))
    calibrated.append(profile.name)
    return planted[len(calibrated) - 1] if planted else {"speed": 0.5}


def suite(folder, *, defenses=({},), seeds=(0,), limits=None, gate=None, adversary="server"):
    """Two tasks, one without victims; methods are files that nobody imports."""
    for name in ("plain", "guess", "guess2"):
        path = folder / f"{name}.py"
        if not path.exists():
            path.write_text(f"# {name}\n")
    plain, guesses = str(folder / "plain.py"), [str(folder / "guess.py"), str(folder / "guess2.py")]
    training = {
        "partition": {"kind": "iid", "devices": 2},
        "rounds": 1,
        "sampled": 1,
        "learning_rate": 0.1,
    }
    return Suite.model_validate(
        {
            "suite": "stand-in",
            "version": 1,
            "title": "stand-in",
            "seeds": list(seeds),
            "tasks": [
                {"name": "t1", "dataset": "digits", "model": "mlp", "training": training, "victims": {"first": 1}},
                {"name": "t2", "dataset": "digits", "model": "mlp", "training": training, "adversary": adversary},
            ],
            "attacks": guesses,
            "defenses": [{plain: dict(parameters)} for parameters in defenses],
            "limits": limits or {"minutes": 1, "memory_gib": 2},
            "gate": gate or {},
        }
    )


def cells(suite):
    """All but the baseline, whose real file would be imported."""
    return [cell for cell in suite.cells("generic-cpu") if cell.defense.name != "none"]


def go(folder, suite, *, chosen=None, **options):
    """Play a suite in ``folder/runs``."""
    from fl_attack_bench.runner import run
    from fl_attack_bench.store import Store

    return run(
        suite,
        cells(suite) if chosen is None else chosen,
        Settings(work=folder, data_dir=folder),
        profile=load("generic-cpu"),
        machine=MACHINE,
        store=Store(folder / "runs"),
        command=lambda cell: f"flab run {cell.id}",
        play=PLAY,
        environment=ENVIRONMENT,
        **options,
    )


if __name__ == "__main__":
    root = Path(sys.argv[1])
    slow = [{"sleep": 0.15}, {"sleep": 0.16}]
    sys.exit(go(root, suite(root, defenses=slow, seeds=(0, 1, 2)), workers=2).exit_status)
