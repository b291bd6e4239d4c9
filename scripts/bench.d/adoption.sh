# shellcheck shell=bash disable=SC2154
# A host that is killed with many sessions and a long log: how long until they are read again, until it answers, until the
# first input is acknowledged. It fills the log first, and one session in ten prints a row each 10 ms, the others each 100 ms.

stored() { termalive status --json | jq .store.bytes; }

fill_log() { # fill_log MB: what compresses, what doesn't, and rows of text, until so much is on disk
  local n
  for n in 1 2; do termalive new "noise-$n" -- sh -c "stty raw -echo; while :; do cat '$private/random'; done" >/dev/null; done
  termalive new text-1 -- sh -c "stty raw -echo; while :; do cat '$private/text'; done" >/dev/null
  until (($(stored) >= $1 * 1024 * 1024)); do rest 0.5; done
  termalive kill --force noise-1 noise-2 text-1
}

adoption() {
  local n beat=$target/release/examples/adoption out names=()
  fill_log "$adopt_mb"
  for ((n = 1; n <= adopt_sessions; n++)); do
    termalive new "beat-$n" -- "$beat" beat "$((n % 10 == 0 ? 10 : 100))" >/dev/null
  done
  rest 12
  out=$("$beat" kill "$adopt_kills")
  local what median high worst
  while read -r what median high worst _; do
    case $what in
      read) row "kill -9 of the host, ms until a PTY is read again, of $adopt_sessions" "$median" '' '' '150 or less' ;;
      answer) row 'the same until the socket answers' "$median" '' '' '' ;;
      durable) row 'the same until an input is on disk and acknowledged' "$median" '' '' '' ;;
    esac
    row "  99th percentile and worst of that" "$high" "$worst" '' ''
  done <<<"$out"
  for ((n = 1; n <= adopt_sessions; n++)); do names+=("beat-$n"); done
  termalive kill --force adoption-typed "${names[@]}" && termalive rm adoption-typed "${names[@]}"
}
