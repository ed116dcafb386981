#!/bin/sh
# Print the Python that set-up runs with: $2 where given, else that of the
# virtual environment $1 where it works, else the first fit one on the PATH.
# Every candidate is run, since a shim may stand there for nothing.
venv=$1
asked=$2
fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
shows='import sys; print("%d.%d.%d" % sys.version_info[:3])'

if [ -n "$asked" ]; then
    set -- "$asked"
else
    set -- "$venv/bin/python" python3 python3.12 python3.11 python3.10
fi

seen=
for candidate in "$@"; do
    version=$("$candidate" -c "$shows" 2>/dev/null) || continue
    if "$candidate" -c "$fits" 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
    seen="$seen $candidate ($version)"
done

{
    echo 'Set-up needs Python 3.10, 3.11 or 3.12.'
    if [ -n "$asked" ]; then
        echo "  got:  PYTHON=$asked${seen:+, found$seen}"
    else
        echo "  got:  ${seen:-no Python at all}"
    fi
    echo '  fix:  install one (Debian, Ubuntu: python3.11 python3.11-venv'
    echo '        python3.11-dev), or name it: make setup PYTHON=/path/to/python3.11'
} >&2
exit 1
