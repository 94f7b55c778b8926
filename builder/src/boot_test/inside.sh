# Runs on the machine: each test, with its result on a line of the port that `kiln test` reads.
port=/dev/virtio-ports/kiln.test
waited=0
while [ ! -e "$port" ] && [ "$waited" -lt 60 ]; do sleep 1; waited=$((waited + 1)); done
exec 3>"$port"

# test NUMBER EXIT TEXT WITHIN TIMEOUT COMMAND…: TEXT begins with =, or is empty if any will do.
test_one() {
    number=$1 exit=$2 text=$3 within=$4 timeout=$5
    shift 5
    echo "begin $number" >&3
    end=$(($(date +%s) + within))
    while :; do
        # What a command says beyond 64 KiB is read, and forgotten.
        { timeout -k 5 "$timeout" "$@" 2>&1 </dev/null 3>&-; echo $? >/run/kiln-test.code; } |
            { head -c 65536 >/run/kiln-test.said; cat >/dev/null; }
        code=$(cat /run/kiln-test.code)
        if [ "$code" = "$exit" ] && { [ -z "$text" ] || grep -qF -e "${text#=}" /run/kiln-test.said; }; then break; fi
        if [ "$(date +%s)" -ge "$end" ]; then break; fi
        sleep 1
    done
    echo "end $number $code $(base64 -w0 /run/kiln-test.said)" >&3
}
