# What the scripts of this folder share: the programs measured, the table, the JSON document and the verdict. A line is a
# figure of Weft against one of a peer (or a bound); it holds if the median over the rounds does. Exit codes: 0 every line
# holds, 1 one does not, 3 the run was disturbed or something could not be measured. Disturbed: the quartiles of the ratios
# differ by more than a factor of two (what slows both sides of a round leaves its ratio alone), or, where a line says so,
# those of the peer's own figures by more than it says.
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
TOOLS = BUILD / "tools"
VERBS_COSTS = BUILD / "tests" / "rdma" / "verbs-costs"
DISTURBED = 2.0


def need(*packages):
    """Installs the Debian packages whose program is missing: (program, package) pairs."""
    missing = [package for program, package in packages if shutil.which(program) is None]
    if missing:
        print("installing", *missing, file=sys.stderr)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                       check=True, stdout=subprocess.DEVNULL)


def build(*targets):
    if not (BUILD / "build.ninja").exists():
        subprocess.run([ROOT / "scripts" / "setup"], check=True)
        subprocess.run(["meson", "setup", BUILD], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD, *targets], check=True, stdout=subprocess.DEVNULL)


def processors():
    """Two processors that this process may use, for the two sides; one and the same if there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1] if len(allowed) < 2 else allowed[1]


def on(processor, *command):
    return ["taskset", "-c", str(processor), *map(str, command)]


def output_of(command, **options):
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **options)
    if ended.returncode not in (0,):
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
    return ended.stdout


def instructions_over_verbs(kind, *size):
    """Of both ends for each "slices" or "requests" more, without those of the network that is inside the process."""
    def own(count):
        with tempfile.NamedTemporaryFile() as profile:
            subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile.name}", VERBS_COSTS, kind, str(count),
                            *map(str, size)], check=True, capture_output=True, env=dict(os.environ, WEFT_POLL="event"), timeout=600)
            shown = output_of(["callgrind_annotate", "--threshold=100", profile.name])
        costs = {name: int(cost.replace(",", "")) for cost, name in
                 re.findall(r"^ *([0-9,]+) \([ 0-9.]+%\)  (.+)$", shown, re.MULTILINE)}
        return costs.pop("PROGRAM TOTALS") - sum(cost for name, cost in costs.items() if "fake_network" in name)

    few, many = 500, 1500
    return (own(many) - own(few)) / (3 * (many - few))  # it does a load of N, and then one of twice as many


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def iperf(processor, port, *options):
    """GB/s of iperf3 on that processor with the server at a port of this host, as that received them."""
    text = output_of(on(processor, "iperf3", "-c", "127.0.0.1", "-p", port, "-O", "1", "-t", "1", "-J", *options))
    return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 8e9


class Server:
    """A process that runs while the block does; `address` is what it said that it is ready at."""

    def __init__(self, command, ready=None, **options):
        output = subprocess.DEVNULL if ready is None else subprocess.PIPE
        self.process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.DEVNULL, text=True,
                                        **options)
        self.address = None
        if ready is None:
            return
        for line in self.process.stdout:
            if ready in line:
                self.address = line.split(ready)[1].split(",")[0].split()[0]
                return
        self.process.kill()
        raise RuntimeError(f"{command} did not get ready")

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def status_of(pid, field):
    """A line of /proc/PID/status in bytes, e.g. VmRSS or VmHWM."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no {field}")


def processor_seconds(pid):
    """What all threads of a process have used, by the scheduler's own count in nanoseconds."""
    return sum(int(each.read_text().split()[0]) for each in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"processor": model, "processors": os.cpu_count(), "kernel": os.uname().release, "congestion": control,
            "commit": commit.stdout.strip()}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Line:
    """`weft` and `peer` hold a figure a round; `at_least` or `at_most` bounds weft / peer, or weft itself without one."""

    def __init__(self, name, unit, at_least=None, at_most=None, against="", note="",
                 peer_differs=None):
        self.name, self.unit, self.at_least, self.at_most = name, unit, at_least, at_most
        self.against, self.note, self.peer_differs = against, note, peer_differs
        self.weft, self.peer = [], []

    def add(self, weft, peer=None):
        self.weft.append(weft)
        if peer is not None:
            self.peer.append(peer)

    @property
    def values(self):
        return [w / p for w, p in zip(self.weft, self.peer)] if self.peer else self.weft

    @property
    def verdict(self):
        if not self.weft:
            return "not measured"
        if self.at_least is None and self.at_most is None:
            return ""
        value = statistics.median(self.values)
        good = (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)
        if self.peer and len(self.peer) > 3:
            low, high = quartiles(self.peer if self.peer_differs else self.values)
            if low <= 0 or high / low > (self.peer_differs or DISTURBED):
                return "disturbed"
        return "holds" if good else "FAILS"

    def row(self):
        if not self.weft:
            return [self.name, "-", "-", "-", "-", self.verdict]
        low, high = quartiles(self.values)
        ratio = f"{statistics.median(self.values):.3f} ({low:.3f}-{high:.3f})"
        bound = f">= {self.at_least}" if self.at_least is not None else f"<= {self.at_most}" if self.at_most is not None else ""
        peer = f"{statistics.median(self.peer):.4g} {self.against}" if self.peer else ""
        return [self.name, f"{statistics.median(self.weft):.4g} {self.unit}", peer, ratio if self.peer else "", bound,
                self.verdict]

    def document(self):
        return {"name": self.name, "unit": self.unit, "against": self.against, "weft": self.weft, "peer": self.peer,
                "median": statistics.median(self.values) if self.weft else None, "at_least": self.at_least,
                "at_most": self.at_most, "verdict": self.verdict, "note": self.note}


def run(main):
    """What cannot be measured is no verdict on Weft."""
    try:
        main()
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as failure:
        print(f"not measured: {failure}", file=sys.stderr)
        sys.exit(3)


def arguments(description, **defaults):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE", help="write the table as a document too")
    for name, (value, text) in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value, help=f"{text} (default {value})")
    return parser.parse_args()


def conclude(title, lines, options, notes=()):
    """Prints the table, writes the document, and ends the program with the verdict."""
    here = machine()
    rows = [["", "Weft, median", "peer, median", "ratio, median (quartiles)", "bound", ""]] + [line.row() for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"{title}: {here['processors']} x {here['processor']}, Linux {here['kernel']}, {here['congestion']}, "
          f"commit {here['commit']}")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for note in list(notes) + [f"{line.name}: {line.note}" for line in lines if line.note]:
        print(note)
    verdicts = [line.verdict for line in lines]
    code = 1 if "FAILS" in verdicts else 3 if "disturbed" in verdicts or "not measured" in verdicts else 0
    if options.json:
        document = {"schema": 1, "title": title, "machine": here, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "lines": [line.document() for line in lines], "notes": list(notes), "exit": code}
        pathlib.Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    sys.exit(code)
