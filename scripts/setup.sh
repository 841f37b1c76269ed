#!/bin/sh
# Installs the Debian packages that are missing.
#
#   scripts/setup.sh build    what `make build` and `make demo` need
#   scripts/setup.sh check    the same and what `make check` needs
#
# The packages stand in scripts/packages.txt. With nothing missing this neither asks for rights nor
# touches the network. CLOCKWORK_SETUP=skip leaves everything as it is.
set -eu

here=$(dirname "$0")
list=$here/packages.txt
tier=${1:-build}

case $tier in
build) tiers="build" ;;
check) tiers="build check" ;;
*)
  echo "usage: setup.sh [build|check]" >&2
  exit 2
  ;;
esac

if [ "${CLOCKWORK_SETUP:-}" = skip ]; then
  exit 0
fi

wanted=
while read -r name its_tier _; do
  case $name in '' | '#'*) continue ;; esac
  for t in $tiers; do
    if [ "$its_tier" = "$t" ]; then
      wanted="$wanted $name"
    fi
  done
done <"$list"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  {
    echo "setup: this is no Debian system, so nothing was installed. Install what these Debian 12"
    echo "setup: packages hold, then run again with CLOCKWORK_SETUP=skip in the environment:"
    echo "setup:$wanted"
  } >&2
  exit 1
fi

# The fields are dpkg-query's, not the shell's. A foreign architecture's copy of a package has a line of its own.
is_installed() {
  # shellcheck disable=SC2016
  dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

missing=
for name in $wanted; do
  is_installed "$name" || missing="$missing $name"
done
if [ -z "$missing" ]; then
  echo "setup: every package is there"
  exit 0
fi

install="apt-get install -y --no-install-recommends$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    {
      echo "setup: missing:$missing"
      echo "setup: neither root nor sudo here; have an administrator run: $install"
    } >&2
    exit 1
  fi
  as_root=sudo
fi

echo "setup: installing$missing"
# env, because sudo drops the variables of its caller.
run() {
  $as_root env DEBIAN_FRONTEND=noninteractive "$@"
}
if ! run apt-get update -q; then
  # A machine may hold the packages in its cache or on a medium; the install below says what lacks.
  echo "setup: warning: apt-get update failed; going on with the package lists that are there" >&2
fi
# $install is a command and its words.
# shellcheck disable=SC2086
if ! run $install; then
  echo "setup: failed: $install" >&2
  exit 1
fi

# The tests start an sshd of their own, on a loopback address. The service that the package starts
# would open port 22 of a machine whose owner asked for a test run only.
case " $missing " in
*" openssh-server "*)
  if [ -d /run/systemd/system ]; then
    run systemctl disable --now ssh.service ||
      echo "setup: warning: openssh-server was installed and its service runs" >&2
  fi
  ;;
esac
