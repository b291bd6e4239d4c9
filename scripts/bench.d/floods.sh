# shellcheck shell=bash disable=SC2154
# Floods: a program writes as fast as it can. Against a reader of a bare PTY and against tmux.

# The same script floods in each place and takes the time itself: from its first byte to its last one taken by the reader.
write_flood() {
  cat >"$private/flood" <<'F'
#!/usr/bin/env bash
stty raw -echo
while [[ -n ${3:-} && ! -e $3 ]]; do read -rt 0.02 <> <(:); done
start=$EPOCHREALTIME
cat "$1"
end=$EPOCHREALTIME
awk -v a="$start" -v b="$end" 'BEGIN { printf "%.3f\n", b - a }' >"$2.part"
mv "$2.part" "$2"
F
  chmod +x "$private/flood"
}

result() { # waits for the file that the flood leaves
  until [[ -e $private/time ]]; do read -rt 0.02 <> <(:) || :; done
  cat "$private/time"
}
in_bare() {
  rm -f "$private/time"
  "$target/release/examples/bare_pty" "$private/flood" "$1" "$private/time" >/dev/null
  result
}
in_termalive() {
  rm -f "$private/time"
  termalive new flood --fresh -- "$private/flood" "$1" "$private/time" >/dev/null
  result
  until [[ $(termalive list --all --json | jq -r '.[] | select(.name == "flood").state') == exited ]]; do :; done
}
in_tmux() {
  rm -f "$private/time" "$private/go" "$private/pane"
  tmux new-session -d -s flood "$private/flood" "$1" "$private/time" "$private/go"
  tmux pipe-pane -t flood "cat > '$private/pane'"
  : >"$private/go"
  result
  tmux kill-session -t flood 2>/dev/null || :
}

floods() {
  local kind bar tmux_bar
  for kind in text random; do
    bar='' tmux_bar=''
    [[ $kind != text ]] || bar='0.85 or more' tmux_bar='1.5 or more'
    duel in_termalive in_bare "$private/$kind"
    row "flood of $kind, MB/s, against a bare PTY reader" "$(rate "$mb" "$ours")" "$(rate "$mb" "$theirs")" "$(ratio "$theirs" "$ours")" "$bar"
    have tmux || continue
    duel in_termalive in_tmux "$private/$kind"
    row "flood of $kind, MB/s, against tmux with pipe-pane" "$(rate "$mb" "$ours")" "$(rate "$mb" "$theirs")" "$(ratio "$theirs" "$ours")" "$tmux_bar"
  done
}
