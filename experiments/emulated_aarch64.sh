#!/usr/bin/env bash
# Runs the runtime's tests on an emulated aarch64 processor (Debian, as root; a few minutes):
#
#     experiments/emulated_aarch64.sh FOLDER [ONNXRUNTIME]
#
# FOLDER gets a Python from Debian's arm64 packages, the wheels for aarch64 and the project. While the tests run, the
# kernel starts arm64 programs with qemu, as some tests start processes. onnxruntime defaults to 1.22.0: under qemu 7.2
# the import of 1.32 ends in a segmentation fault, before any of our code.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 onnxruntime=${2:-1.22.0}
python=3.11
mkdir -p "$folder"/{debs,root,wheels,site}
apt-get install -y -qq qemu-user-static unzip > /dev/null
dpkg --add-architecture arm64
apt-get update -qq
(
  cd "$folder/debs"
  apt-get download -qq {python$python,python$python-minimal,libpython$python-minimal,libpython$python-stdlib}:arm64 \
    {libc6,libgcc-s1,libstdc++6,libssl3,zlib1g,libexpat1,libffi8,libbz2-1.0,liblzma5,libsqlite3-0,libuuid1}:arm64 \
    {libncursesw6,libtinfo6,libreadline8,libdb5.3,libgomp1,libcrypt1}:arm64
)
for package in "$folder"/debs/*.deb; do dpkg -x "$package" "$folder/root"; done
python3 -m pip download -q --only-binary :all: --python-version $python --implementation cp -d "$folder/wheels" \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64 \
  "onnxruntime==$onnxruntime" numpy pillow click msgspec rich simplejpeg onnx pytest hypothesis filelock
for wheel in "$folder"/wheels/*.whl; do unzip -qo "$wheel" -d "$folder/site"; done
python3 -m pip install -q --no-deps --upgrade --target "$folder/site" "$project"

formats=/proc/sys/fs/binfmt_misc
[ -e $formats/register ] || mount -t binfmt_misc binfmt_misc $formats
elf='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":aarch64-tests:M::$elf:$mask:/usr/bin/qemu-aarch64-static:F" > $formats/register
trap 'echo -1 > '$formats'/aarch64-tests' EXIT
cd "$project"
PYTHONPATH=$folder/site:$project PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 \
  QEMU_LD_PREFIX=$folder/root QEMU_CPU=cortex-a72 \
  "$folder/root/usr/bin/python$python" -m pytest -q -p no:cacheprovider -o addopts= tests/runtime tests/bundle
