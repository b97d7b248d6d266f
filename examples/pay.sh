#!/bin/bash
# An agent that pays for itself: deposits by x402 from a wallet when it has no token yet, streams, and deposits again whenever the balance is used up;
# the stream pauses meanwhile and misses nothing.  At most DEPOSITS times (3) in all, so that the most it can spend is known beforehand.
# Needs: kamiyo on PATH and KAMIYO_WALLET_KEY, the key of an EVM wallet with USDC on a network that the seller takes.
#   usage: pay.sh USD FEED... [options of kamiyo stream]      (KAMIYO_URL; the token is kept in TOKEN_FILE, ./kamiyo.token)
set -euo pipefail
umask 077 # a token is as good as the money behind it
usd=$1 left=${DEPOSITS:-3} file=${TOKEN_FILE:-kamiyo.token}
shift

deposit() {
    if [ "$left" -eq 0 ]; then
        echo "pay.sh: that was the last deposit" >&2
        return 1
    fi
    left=$((left - 1))
    kamiyo deposit "$usd" >"$file.new" && mv "$file.new" "$file" # what it cost and where it went is said on standard error
}

[ -s "$file" ] || deposit
KAMIYO_TOKEN=$(cat "$file")
export KAMIYO_TOKEN # not an argument: those can be read by everybody on the machine

exec 3< <(exec env -u KAMIYO_WALLET_KEY kamiyo stream --json "$@")
stream=$!
while read -r frame <&3; do
    case $frame in
    '{"type":"tick",'*) printf '%s\n' "$frame" ;; # here is what the agent is for
    '{"type":"payment_required",'*) deposit || kill "$stream" ;; # which then says its closing line
    '{"received":'*) printf '%s\n' "$frame" >&2 ;; # that line: received and charged
    esac
done
wait "$stream"
