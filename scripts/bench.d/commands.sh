# shellcheck shell=bash disable=SC2154
# Single commands and single bytes: typing, and seeing it. Against tmux.

recipe() {
  tmux send-keys -t sink -l 'a short text'
  sleep .05
  tmux send-keys -t sink Enter
}
type_text() { repeat_in "$sends" termalive send sink -n 'a short text'; }
submit_text() { repeat_in "$sends" termalive send sink 'a short text'; }
send_keys() { repeat_in "$sends" tmux send-keys -t sink -l 'a short text'; }
send_keys_and_enter() { repeat_in "$sends" recipe; }

round_trip_here() { "$target/release/examples/round_trip" termalive "$socket" cat "$trips"; }
round_trip_tmux() { "$target/release/examples/round_trip" tmux "$tmux_server" cat "$trips"; }

commands() {
  have tmux || return 0
  termalive new sink --fresh -- sh -c 'stty raw -echo; exec cat >/dev/null' >/dev/null
  tmux new-session -d -s sink "sh -c 'stty raw -echo; exec cat >/dev/null'"
  duel type_text send_keys
  row 'send -n, ms, against tmux send-keys' "$(per "$ours" "$sends")" "$(per "$theirs" "$sends")" "$(ratio "$ours" "$theirs")" '1.5 and one fdatasync, or less'
  duel submit_text send_keys_and_enter
  row 'send, ms, against send-keys -l; sleep .05; send-keys Enter' "$(per "$ours" "$sends")" "$(per "$theirs" "$sends")" "$(ratio "$ours" "$theirs")" '1.2 and one fdatasync, or less'
  tmux kill-session -t sink
  termalive kill --force sink
  knows attach || return 0
  local socket n a b
  socket=$(termalive status --json | jq -r .socket)
  local raw_cat='stty raw -echo; printf READY; exec cat' # what is typed before that is lost
  termalive new cat --fresh -- sh -c "$raw_cat" >/dev/null
  tmux new-session -d -s cat "$raw_cat"
  termalive logs cat --until READY --timeout 30s >/dev/null
  until tmux capture-pane -p -t cat | grep -q READY; do rest 0.05; done
  local ours99='' theirs99=''
  ours='' theirs=''
  for ((n = 0; n < rounds; n++)); do
    read -r a b <<<"$(round_trip_here)"
    ours=$(smaller "$ours" "$a") ours99=$(smaller "$ours99" "$b")
    read -r a b <<<"$(round_trip_tmux)"
    theirs=$(smaller "$theirs" "$a") theirs99=$(smaller "$theirs99" "$b")
  done
  row 'round trip of a byte on cat, µs, median, against tmux -C' "$ours" "$theirs" "$(ratio "$ours" "$theirs")" '2.0 or less'
  row 'the same, 99th percentile' "$ours99" "$theirs99" "$(ratio "$ours99" "$theirs99")" ''
  tmux kill-session -t cat
  termalive kill --force cat
}
