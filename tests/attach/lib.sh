# shellcheck shell=bash
# Terminals for the tests of `attach`: panes of a tmux of their own. Sourced, not run.
# Needs `termalive` on PATH and a host of its own (TERMALIVE_HOME). Exit 77: skipped.
set -euo pipefail

skip() {
  echo "$1"
  exit 77
}
for program in tmux vim less jq python3; do command -v "$program" >/dev/null || skip "$program is missing"; done

attach_tests=$(dirname "${BASH_SOURCE[0]}")
dir=$(mktemp -d)
server=termalive-test-$$
cleanup() {
  o kill-server 2>/dev/null || :
  t kill-server 2>/dev/null || :
  termalive rm -f s >/dev/null 2>&1 || :
  rm -rf "$dir"
}
trap cleanup EXIT
t() { tmux -L "$server" -f "$dir/tmux.conf" "$@"; }
# tmux doesn't tell of blanks that were cleared in a colour; another one that shows the pane, and has to write them, does
o() { tmux -L "$server-outer" -f "$dir/tmux.conf" "$@"; }
cat >"$dir/tmux.conf" <<'CONF'
set -g status off
set -g escape-time 0
set -g default-terminal tmux-256color
set -ga terminal-overrides ',*:bce@:Tc'
CONF
unset TMUX TMUX_PANE COLORTERM TERM_PROGRAM TERM_PROGRAM_VERSION
export LANG=C.UTF-8 LC_ALL=C.UTF-8 HISTFILE=/dev/null

pane() { # pane NAME COLSxROWS COMMAND…: a terminal in which it runs
  t new-session -d -s "$1" -x "${2%x*}" -y "${2#*x}" "${*:3}; exec cat"
  o new-session -d -s "$1" -x "${2%x*}" -y "${2#*x}" "exec env -u TMUX tmux -L $server attach -t $1:"
}
keys() { # keys PANE KEY…
  t send-keys -t "$1:" "${@:2}"
}
flags='cursor=#{cursor_x},#{cursor_y},#{cursor_flag} keypad=#{keypad_cursor_flag}#{keypad_flag}'
flags+=' mouse=#{mouse_standard_flag}#{mouse_button_flag}#{mouse_all_flag}#{mouse_sgr_flag}#{mouse_utf8_flag}'
flags+=' wrap=#{wrap_flag} insert=#{insert_flag} origin=#{origin_flag} region=#{scroll_region_upper}-#{scroll_region_lower}'
flags+=' title=#{pane_title}'
close() { # close PANE
  o kill-session -t "$1"
  t kill-session -t "$1"
}
screen() { # screen PANE: every cell with its attributes, the cursor, the modes
  o capture-pane -p -e -N -t "$1:" | "$attach_tests/cells"
  diff <(t capture-pane -p -t "$1:") <(o capture-pane -p -t "$1:") >/dev/null || echo "$1 is still being drawn"
  t display-message -p -t "$1:" "$flags"
}
text() { t capture-pane -p -t "$1:"; }
limit() { # limit WHAT COMMAND…: until it holds; with the last look at it when it never does
  local end=$((SECONDS + 30))
  until "${@:2}" >"$dir/looked" 2>&1; do
    ((SECONDS < end)) || { printf 'never: %s\n' "$1" && cat "$dir/looked" && exit 1; }
    sleep 0.05
  done
}
matches() {
  local now
  now=$(text "$1")
  grep -qE -- "$2" <<<"$now" || { printf '%s\n' "$now" && return 1; }
}
shows() { limit "$1 shows $2" matches "$1" "$2"; } # shows PANE RE
alike() { diff <(screen "$1") <(screen "$2"); }
same() { limit "$1 and $2 are the same" alike "$1" "$2"; } # same PANE PANE
