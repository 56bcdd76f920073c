# The machines of scripts/soft-roce: each guest is a QEMU process, wired to the others by pairs of sockets.
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import time

import soft_roce_image as image

# An Ethernet MTU that leaves room for RoCE's headers, so that the path MTU is 4096.
MTU = 4200
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What follows panic saves time: defences that nothing here needs, and a quarter of a second of ACPI for each device.
KERNEL_OPTIONS = ("console=ttyS0 quiet net.ifnames=0 panic=-1 mitigations=off nokaslr tsc=reliable random.trust_cpu=on "
                  "pci=noacpi")
# Without what the emulation is slow at: strings by microcode, of which it does a byte at a time (zeroing memory 0.6 GB/s,
# 5 without), the instruction for checksums (a table is half as fast again), and wide registers.
CPU = "max,-erms,-fsrm,-sse4.2,-avx,-avx2"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Refused(Exception):
    """A request of a guest that cannot be met."""


def start_qemu(options, descriptors=(), own_session=True, **streams):
    """A child that dies with this process. Without a session of its own it can read the terminal."""
    parent = os.getpid()

    def die_with_parent():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen([image.tool("qemu-system-x86_64"), "-nodefaults", "-display", "none", *options],
                            pass_fds=descriptors, preexec_fn=die_with_parent, start_new_session=own_session, **streams)


class Wires:
    """The networks, one for each rail. Nothing leaves this machine: a wire is a pair of sockets, an end for each of two
    processes. Two nodes are wired to each other, more to a QEMU without a guest that only has hubs, and one
    to nobody, which leaves it with networks that are up and lead nowhere."""

    def __init__(self, nodes, rails):
        self.ends = {}
        self.hub = None
        self.all = []
        if nodes <= 2:
            for rail in range(rails):
                self.ends[1, rail], self.ends[2, rail] = self.pair()
            return
        options, far_ends = ["-machine", "none"], []
        for rail in range(rails):
            for node in range(1, nodes + 1):
                self.ends[node, rail], far_end = self.pair()
                far_ends.append(far_end)
                name = f"wire{rail}-{node}"
                options += ["-netdev", stream(name, far_end),
                            "-netdev", f"hubport,id=port-{name},hubid={rail},netdev={name}"]
        self.hub = start_qemu(options, far_ends, stdin=subprocess.DEVNULL)

    def pair(self):
        two = [end.detach() for end in socket.socketpair()]
        self.all += two
        return two

    def let_go(self):
        """Once all have their ends: so that the death of one is seen by the others."""
        for end in self.all:
            os.close(end)


def stream(name, descriptor):
    return f"stream,id={name},server=off,addr.type=fd,addr.str={descriptor}"


class Guest:
    """One virtual machine. `code` is its command's exit code once there is one."""

    def __init__(self, cluster, number):
        self.number = number
        self.folder = cluster.exchange / f"node{number}"
        self.console = cluster.folder / f"console{number}"
        self.legacy = number in cluster.legacy
        self.on_terminal = cluster.interactive and number == 1
        self.ready = self.code = self.ended = None
        self.killed = False
        self.partial = b""
        for name in ("out", "requests"):
            (self.folder / name).mkdir(parents=True)
            # Tests run commands as ordinary users too.
            (self.folder / name).chmod(0o777)
        self.write_settings(cluster)

    def write_settings(self, cluster):
        """What its init reads."""
        link, rdma = ["link set lo up"], []
        for rail in range(cluster.rails):
            link += [f"link set eth{rail} mtu {MTU} up", f"addr add 10.77.{rail}.{self.number}/24 dev eth{rail}",
                     f"addr add fd77:{rail}::{self.number}/64 dev eth{rail} nodad"]
            rdma += [] if self.legacy else [f"link add rxe{rail} type rxe netdev eth{rail}"]
        hosts = ["127.0.0.1 localhost", "::1 localhost"]
        hosts += [f"10.77.0.{node} node{node}" for node in range(1, cluster.nodes + 1)]
        settings = {
            "PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb"),
            **cluster.environment, "SOFT_ROCE_NODE": self.number, "SOFT_ROCE_NODES": cluster.nodes,
            "SOFT_ROCE_RAILS": cluster.rails, "SOFT_ROCE_LEGACY": " ".join(map(str, sorted(cluster.legacy))),
            "SOFT_ROCE_OUT": "/run/soft-roce/out", "SOFT_ROCE_SHARED": "/run/soft-roce/shared"}
        command = ["unset node"]  # The kernel's word to init.
        if self.on_terminal:
            columns, lines = os.get_terminal_size()
            command.append(f"stty rows {lines} columns {columns}")
        command += [f"export {name}={shlex.quote(str(value))}" for name, value in settings.items()]
        command += [f"cd {shlex.quote(os.getcwd())} || exit 1", f"exec {shlex.join(cluster.command_of(self.number))}"]
        for name, lines in (("ip", link), ("rdma", rdma), ("hosts", hosts), ("command", command)):
            (self.folder / name).write_text("".join(line + "\n" for line in lines))
        if self.on_terminal:
            (self.folder / "terminal").touch()

    def start(self, cluster, kernel, initramfs):
        self.started = time.monotonic()
        host, guest = socket.socketpair()
        descriptors = [guest.fileno()]
        options = [
            "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(cluster.cpus), "-m", str(cluster.memory), "-no-reboot",
            "-kernel", kernel, "-initrd", initramfs,
            "-append", f"{KERNEL_OPTIONS} node={self.number}",
            "-chardev", "stdio,id=console,signal=off" if self.on_terminal else f"file,id=console,path={self.console}",
            "-serial", "chardev:console", "-chardev", f"socket,id=monitor,fd={guest.fileno()}",
            "-mon", "chardev=monitor,mode=control", "-device", "virtio-serial-pci",
            "-chardev", f"file,id=output,path={'/dev/null' if self.on_terminal else '/dev/stdout'}",
            "-device", "virtserialport,chardev=output",
            *shared_folder("host", "/", ",readonly=on"), *shared_folder("exchange", cluster.exchange)]
        # With indices of events a card ceases to send now and then under load, as if a kick had been lost (QEMU 7.2, with
        # stream and dgram for -netdev).
        card = "virtio-net-pci,event_idx=off,romfile="
        for rail in range(cluster.rails):
            descriptors.append(cluster.wires.ends[self.number, rail])
            options += ["-netdev", stream(f"wire{rail}", descriptors[-1]),
                        "-device", f"{card},id=rail{rail},netdev=wire{rail},"
                                   f"mac=52:54:00:77:{rail:02x}:{self.number:02x}"]
        streams = {} if self.on_terminal else {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        self.process = start_qemu(options, descriptors, own_session=not self.on_terminal, **streams)
        guest.close()
        host.settimeout(30)
        self.monitor = host.makefile("rw")
        self.send_to_monitor({"execute": "qmp_capabilities"})

    def send_to_monitor(self, command):
        self.monitor.write(json.dumps(command) + "\n")
        self.monitor.flush()

    def tell_monitor(self, command, **arguments):
        """One command of QEMU's machine protocol; returns when it has taken effect."""
        try:
            self.send_to_monitor({"execute": command, "arguments": arguments, "id": command})
            # The greeting, its answer and events come in between.
            reply = {}
            while "id" not in reply:
                reply = json.loads(self.monitor.readline() or '{"id": 0, "error": {"desc": "it is gone"}}')
        except OSError as error:
            raise Refused(f"QEMU's monitor: {error}")
        if "error" in reply:
            raise Refused(f"QEMU's monitor: {reply['error']['desc']}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def shared_folder(name, path, more=""):
    return ["-fsdev", f"local,id={name},path={path},security_model=none,multidevs=remap{more}",
            "-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
