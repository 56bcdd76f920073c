# What the guests of scripts/soft-roce boot: the kernel of Debian's package and an initramfs of static busybox, modules,
# init and `cluster`. Both lie in build/soft-roce and are made anew when these scripts or the package change. Nothing is
# installed into the host's /boot or /lib/modules.
import fcntl
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SCRIPTS = pathlib.Path(__file__).resolve().parent
CACHE = SCRIPTS.parent / "build" / "soft-roce"
SOURCES = [SCRIPTS / name for name in ("soft_roce_image.py", "soft-roce-init", "soft-roce-cluster")]
META_PACKAGE = "linux-image-amd64"

# Loaded in this order, each after what it depends on. There is no modprobe in the guest, so what the kernel would ask
# for by itself is named here: the checksum of rdma_rxe, the socket diagnosis of ss, what tc's tests of faults need.
PLAIN_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "virtio_net", "veth", "dummy",
                 "8021q", "sch_netem", "sch_ingress", "cls_u32", "act_gact", "tcp_diag"]
RDMA_MODULES = ["crc32_generic", "rdma_rxe", "ib_uverbs", "rdma_ucm"]

TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "ip": "iproute2",
         "rdma": "iproute2", "dpkg": "dpkg", "apt-get": "apt"}


class Missing(Exception):
    """What the cluster cannot do without; the text says what to do about it."""


def tool(name):
    """Where a program is. What the guests call is often in sbin, which an ordinary user's PATH leaves out."""
    return shutil.which(name) or (shutil.which(name, path="/usr/sbin:/sbin") if TOOLS[name] == "iproute2" else None)


def check_tools():
    missing = [name for name in TOOLS if tool(name) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[name] for name in missing}))
        raise Missing(f"not found: {', '.join(missing)}. As root: scripts/setup, or "
                      f"apt-get install --no-install-recommends {packages}")


def kernel_package():
    """The package with the kernel that the meta package stands for; None where apt knows of none."""
    answer = subprocess.run(["apt-cache", "depends", META_PACKAGE], text=True, capture_output=True)
    found = re.search(r"Depends: (linux-image-\S+)", answer.stdout)
    return found.group(1) if found else None


def cached_archive(package="linux-image"):
    return max(CACHE.glob(f"{package}*.deb"), key=os.path.getmtime, default=None)


def download():
    """The archive of the newest kernel. Its name has the version, and apt fetches no second time what is there."""
    for attempt in range(2):
        try:
            return fetch_newest()
        except (Missing, subprocess.CalledProcessError) as error:
            cause = error
        # No list of packages yet, or one so old that the mirror has gone on to a newer kernel.
        if attempt == 0:
            subprocess.run(["apt-get", "update", "-qq"], stdout=sys.stderr)
    raise Missing(f"the package of {META_PACKAGE} cannot be had ({cause}): is there a network, and does "
                  "/etc/apt/sources.list name a Debian 12 mirror?")


def fetch_newest():
    package = kernel_package()
    if package is None:
        raise Missing(f"apt knows no {META_PACKAGE}")
    # An option rather than a user without rights: apt warns where its own user cannot write the folder.
    subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=CACHE, check=True,
                   stdout=sys.stderr)
    return cached_archive(package)


def state_of(archive):
    digest = hashlib.sha256(archive.name.encode())
    for source in SOURCES:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def build():
    """Makes what is missing or out of date; returns the paths of kernel and initramfs."""
    check_tools()
    CACHE.mkdir(parents=True, exist_ok=True)
    kernel, initramfs, stamp = CACHE / "vmlinux", CACHE / "initramfs", CACHE / "stamp"
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archive = cached_archive()
        package = kernel_package()
        if archive is None or (package is not None and not archive.name.startswith(package + "_")):
            archive = download()
        state = state_of(archive)
        if not stamp.exists() or stamp.read_text() != state:
            stamp.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                for made, place in zip(make(archive, pathlib.Path(folder)), (kernel, initramfs)):
                    made.replace(place)
            for other in CACHE.glob("linux-image*.deb"):
                if other != archive:
                    other.unlink()
            stamp.write_text(state)
    return kernel, initramfs


def make(archive, folder):
    print(f"soft-roce: unpacking {archive.name}", file=sys.stderr)
    subprocess.run(["dpkg", "-x", archive, folder / "package"], check=True)
    kernel, initramfs = folder / "vmlinux", folder / "initramfs"
    kernel.write_bytes(unpacked_kernel(next((folder / "package" / "boot").glob("vmlinuz-*")).read_bytes()))
    root = folder / "root"
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(tool("busybox"), root / "bin" / "busybox")
    shutil.copy(SCRIPTS / "soft-roce-init", root / "init")
    shutil.copy(SCRIPTS / "soft-roce-cluster", root / "cluster")
    modules = Modules(next((folder / "package" / "lib" / "modules").iterdir()))
    for name, wanted in (("plain", PLAIN_MODULES), ("rdma", RDMA_MODULES)):
        files = modules.take(wanted)
        for file in files:
            shutil.copy(file, root / "modules")
        (root / "modules" / name).write_text("".join(f"/modules/{file.name}\n" for file in files))
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    with open(initramfs, "wb") as image:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=image,
                       check=True)
    return kernel, initramfs


def unpacked_kernel(image):
    """The ELF file within a bzImage. The emulated processor would take three seconds to unpack it, at every boot."""
    start = image.find(b"\xfd7zXZ\0")
    if start < 0:
        raise Missing("the kernel is not packed with xz, as Debian 12's is: does /etc/apt/sources.list name Debian 12?")
    return lzma.LZMADecompressor().decompress(image[start:])


class Modules:
    """The modules of an unpacked kernel package, which has no modules.dep: depmod writes that at installation."""

    def __init__(self, folder):
        self.files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
        # To begin with, what is built into the kernel.
        self.done = {pathlib.Path(line).stem.replace("-", "_")
                     for line in (folder / "modules.builtin").read_text().split()}

    def take(self, names):
        """Their files, each after those that it depends on, without those that an earlier call returned."""
        taken = []
        for name in names:
            self.add(name.replace("-", "_"), taken)
        return taken

    def add(self, name, taken):
        if name in self.done:
            return
        if name not in self.files:
            raise Missing(f"the kernel package has no module {name}: does /etc/apt/sources.list name Debian 12?")
        self.done.add(name)
        depends = re.search(rb"\0depends=([^\0]*)\0", self.files[name].read_bytes()).group(1).decode()
        for dependency in filter(None, depends.split(",")):
            self.add(dependency.replace("-", "_"), taken)
        taken.append(self.files[name])
