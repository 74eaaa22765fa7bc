"""What the comparisons run, and how."""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BRIGADE = str(HERE.parents[1] / "build/release/src/cli/brigade")


def run(*command):
    """Its output; ends this program with its message if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr or done.stdout}")
    return done.stdout
