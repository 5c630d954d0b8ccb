"""A plugin of `make bench`: prints and keeps what the bench_* functions give to record_property.

A benchmark is a function bench_* in a file tests/bench_*.py. It measures ratios within one run where it can, and
hands over its numbers with record_property("name_with_unit", value). They end in outputs/bench.json.
"""

import json
import os
import platform
import time

from lipsync_utils import __version__, project


def pytest_terminal_summary(terminalreporter):
    """One block per benchmark after the tests, with the machine it was measured on."""
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "version": __version__,
        "when": time.strftime("%Y-%m-%d %H:%M"),
    }
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    rows = {report.nodeid.split("::", 1)[1]: dict(report.user_properties) for report in reports}
    terminalreporter.section(f"benchmarks on {machine['cores']} cores, {machine['processor']}")
    for name, numbers in rows.items():
        terminalreporter.write_line(name)
        for key, value in numbers.items():
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            terminalreporter.write_line(f"    {key:50}{shown:>14}")
    path = project.home() / "outputs" / "bench.json"
    known = json.loads(path.read_text())["benchmarks"] if path.exists() else {}
    project.write_json(path, {"machine": machine, "benchmarks": known | rows})
