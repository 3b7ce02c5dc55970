"""What the first explanation of a process costs: importing, making a model, converting it, and the first clip.

    python -m benchmarks.first_call [--models I3D-R50 TAM2D-R50] [--frames 8] [--size 224]

Every round is a process of its own, which says after each stage how long that took, on the clock and of all cores
together: on a machine that others use, the second says more. `python -X importtime -c "import lrp3d.public"` has the
modules one by one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.timing import common, nets

STAGES = """
import json, sys, time
family, frames, size, width, device = json.loads(sys.argv[1])
found, at = {}, [time.perf_counter(), time.process_time()]
def stage(name):
    now = [time.perf_counter(), time.process_time()]
    found[name] = [b - a for a, b in zip(at, now)]
    at[:] = [time.perf_counter(), time.process_time()]
import torch
stage("import torch")
import lrp3d
lrp3d.explain, lrp3d.convert, lrp3d.models
stage("import lrp3d")
model = lrp3d.models.build(f"{family}-f{frames}", 400, width=width).eval().to(device)
clip = torch.randn(1, 3, frames, size, size).to(device)
stage("build the model")
twin = lrp3d.convert(model)
stage("convert")
for name in ("first explanation", "second explanation", "third explanation"):
    lrp3d.explain(twin, clip, 0)
    torch.cuda.synchronize() if device != "cpu" else None
    stage(name)
print(json.dumps(found))
"""


def stages(family: str, frames: int, size: int, width: int, device: str) -> dict[str, list[float]]:
    """By stage, seconds on the clock and of all cores, in a fresh process."""
    given = json.dumps([family, frames, size, width, device])
    command = [sys.executable, "-W", "ignore", "-c", STAGES, given]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=common.ROOT)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    nets.add_sizes(parser)
    options = common.parse(parser, argv)
    device = common.start(options)
    width = nets.width_of(options)
    results = common.Results(
        "first_call",
        "The first call of a process",
        options,
        device,
        columns=["model", "stage", "seconds", "CPU seconds"],
        notes=["medians of processes of their own; CPU seconds: of all cores together"],
    )
    for family in options.models:
        rounds = [stages(family, options.frames, options.size, width, str(device)) for _ in range(options.repeats)]
        for stage in rounds[0]:
            clock, cores = (statistics.median(found[stage][i] for found in rounds) for i in (0, 1))
            row = {"model": f"{family}-f{options.frames}", "stage": stage, "seconds": clock, "CPU seconds": cores}
            results.add(row | {"rounds": [found[stage] for found in rounds]})
    return results.write()


if __name__ == "__main__":
    main()
