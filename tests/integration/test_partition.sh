#!/bin/sh
# Six hosts in network namespaces: one is cut off and comes back (partition.py). Everything is
# within a network and a mount namespace of its own; exit 77 where those can't be had.
set -u
here=$(dirname "$0")
inside='mount -t tmpfs tmpfs /run && ip netns add probe && ip netns exec probe true &&
    ip -n probe link add veth0 type veth peer name veth1 && ip -n probe link add bridge0 type bridge &&
    ip netns delete probe'
as_root=--map-root-user
[ "$(id -u)" != 0 ] || as_root=

# Without quotes: no word at all where there is nothing to map.
if ! unshare $as_root --mount --net sh -c "$inside" >/dev/null 2>&1; then
    echo "skipped: network namespaces are not permitted"
    exit 77
fi
exec unshare $as_root --mount --net sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh \
    "${PYTHON:-/usr/bin/python3}" -B "$here/partition.py" "$@"
