#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image: Python, the course, and what the walls need.
set -euo pipefail
umask 022  # a student's code may run as a user who has to be able to read Python and its packages
autograder=${AUTOGRADER:-/autograder}
course=$autograder/source/course
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1

apt-get update -qq
apt-get install -qq -y --no-install-recommends \
  bubblewrap libseccomp2 python3 python3-venv python3-pip ca-certificates

if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  python3 -m venv "$autograder/venv"
else  # Ubuntu 22.04 has 3.10
  python3 -m venv "$autograder/uv"
  "$autograder/uv/bin/pip" install --quiet uv
  UV_PYTHON_INSTALL_DIR=$autograder/python "$autograder/uv/bin/uv" venv --seed --python 3.12 "$autograder/venv"
fi

pip=("$autograder/venv/bin/python" -m pip install --quiet -c "$course/constraints.txt")
# PyTorch for CPUs alone is 2 GB smaller; where its index can't be reached, the usual one does as well.
"${pip[@]}" --no-deps --retries 2 torch --index-url https://download.pytorch.org/whl/cpu ||
  echo "no PyTorch for CPUs alone: the usual one is installed"
# Editable: the course stays in source/, which a student's code can't read.
"${pip[@]}" -e "$course[ta]"

chmod go= "$autograder/source"
