#!/bin/bash
# Runs a command like a container of the pods: as their user, with no privileges, on a file
# system that can be read only, but for the folders in $POD_MOUNTS, which are empty.
set -eu
exec unshare --mount bash -eu -c '
    mount --make-rprivate /
    for folder in $POD_MOUNTS; do
        [ -d "$folder" ] || { mount -t tmpfs pod "${folder%/*}"; mkdir "$folder"; }
    done
    for mounted in $(findmnt -rno TARGET | grep -v ^/proc); do
        mount -o remount,bind,ro "$mounted"
    done
    for folder in $POD_MOUNTS; do
        mount -t tmpfs -o mode=1777 pod "$folder"
    done
    exec unshare --user --map-user=1000 --map-group=100 setpriv --no-new-privs "$@"
' pod "$@"
