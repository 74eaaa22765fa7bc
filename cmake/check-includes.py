#!/usr/bin/env python3
"""Rejects an #include that climbs: a room may include only its own files and the doors of the rooms
its row names; foreign headers stay in the rooms that own them, and no door shows one.

    cmake/check-includes.py [SOURCE_DIR]
"""
import pathlib
import re
import sys

ALL = "core ops dataset communication telemetry network host device training".split()
MAY_USE = {
    "core": [],
    "ops": ["core"],
    "dataset": ["core"],
    "communication": ["core"],
    "telemetry": ["core"],
    "network": ["core", "ops"],
    "host": ["core", "ops"],
    "device": ["core", "ops"],
    "training": ["core", "ops", "dataset", "communication", "telemetry", "network"],
    "benchmarks": ALL,
    "cli": ALL + ["benchmarks"],
}
FOREIGN = {
    r"mpi\.h": ["communication"],
    r"hdf5\.h": ["dataset", "training"],
    r"Kokkos_.*": ["host"],
    r"(cuda|cudnn|cublas).*": ["device"],
    r"nccl\.h": ["communication"],
    r"(jpeglib|turbojpeg|png|zlib|unzip)\.h": ["dataset"],
    r"google/protobuf/.*": ["dataset", "telemetry", "training"],
    r"nlohmann/.*": ["dataset", "telemetry", "training", "benchmarks", "cli"],
    r"boost/program_options.*": ["cli"],
}


def check(root):
    errors = []
    files = [p for top in ("src", "include/brigade") for p in (root / top).rglob("*") if p.suffix in (".cpp", ".hpp", ".cu")]
    for path in sorted(files):
        relative = path.relative_to(root)
        is_door = relative.parts[0] == "include"
        room = relative.parts[2] if is_door else relative.parts[1]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line)
            if not found:
                continue
            name = found.group(1)
            door = re.match(r"brigade/(\w+)/", name)
            if door and door.group(1) != room and door.group(1) not in MAY_USE[room]:
                errors.append(f"{relative}:{number}: room '{room}' may not include '{name}'")
            for pattern, owners in FOREIGN.items():
                if re.fullmatch(pattern, name) and (is_door or room not in owners):
                    where = "a public header" if is_door else f"room '{room}'"
                    errors.append(f"{relative}:{number}: {where} may not include '{name}'")
    return errors, len(files)


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems, count = check(source)
    print("\n".join(problems) if problems else f"{count} files, no #include climbs")
    sys.exit(1 if problems else 0)
