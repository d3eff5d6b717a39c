#!/bin/sh
# HAProxy as Serve calls it, `haproxy -db -f CONFIG ...`, with its counters on this machine
# only: Serve's template has no address for them.
set -eu
sed -i -E '/^(frontend prometheus|listen stats)$/,/bind/s/bind \*?:/bind 127.0.0.1:/' "$3"
exec "$ANDES_HAPROXY" "$@"
