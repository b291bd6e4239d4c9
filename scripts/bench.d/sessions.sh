# shellcheck shell=bash disable=SC2154
# Many sessions: what making one costs, and what each costs while it does nothing. Against tmux.

host_pids() { termalive status --json | jq -r '.host_pid, .keeper_pid'; }
tmux_pid() { tmux display-message -p '#{pid}'; }
pss() { # pss PID…: KiB, shared pages counted in parts
  local pid
  for pid; do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { sum += $2 } END { print sum }'
}
busy() { # busy PID…: nanoseconds on a processor so far
  local pid
  for pid; do cat "/proc/$pid"/task/*/schedstat; done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
share() { # share PID…: per cent of a core over a while
  local before after start=$EPOCHREALTIME
  before=$(busy "$@")
  rest 10
  after=$(busy "$@")
  awk -v ns="$((after - before))" -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", ns / (b - a) / 1e7 }'
}
each_kib() { awk -v before="$1" -v after="$2" -v n="$3" 'BEGIN { printf "%.1f", (after - before) / n }'; }

make_here() { # make_here COUNT WORD…: sessions m1 …; seconds
  local n count=$1 start=$EPOCHREALTIME
  for ((n = 1; n <= count; n++)); do termalive new "m$n" -- "${@:2}" >/dev/null; done
  seconds_since "$start"
}
make_tmux() {
  local n count=$1 start=$EPOCHREALTIME
  for ((n = 1; n <= count; n++)); do tmux new-session -d -s "m$n" "${@:2}"; done
  seconds_since "$start"
}
forget_here() {
  local n names=()
  for ((n = 1; n <= $1; n++)); do names+=("m$n"); done
  termalive kill --force "${names[@]}" && termalive rm "${names[@]}"
}
forget_tmux() {
  local n
  for ((n = 1; n <= $1; n++)); do tmux kill-session -t "m$n"; done
}
make_and_forget_here() { make_here "$news" sleep 1000000 && forget_here "$news"; }
make_and_forget_tmux() { make_tmux "$news" sleep 1000000 && forget_tmux "$news"; }
listing() { repeat_in 20 termalive list; }
listing_tmux() { repeat_in 20 tmux list-sessions; }

# A new host's memory after so many sessions have printed 10 MB each: KiB before anybody has seen a screen, KiB with their
# screens, KiB when those are gone. What the store keeps in memory of its newest output is the host's and has a bound, some
# tens of MB, which fifty sessions reach: so what each costs is what many take beyond fifty, and each host is new.
memory_after_printing() { # memory_after_printing SESSIONS
  local n pids
  termalive stop -y >/dev/null
  rm -rf "$TERMALIVE_HOME" "$private/printed"
  termalive start -d >/dev/null
  make_here "$1" sh -c "head -c 10000000 '$private/text'; printf . >>'$private/printed'; exec sleep 1000000" >/dev/null
  until [[ $(stat -c %s "$private/printed" 2>/dev/null) == "$1" ]]; do rest 0.2; done
  mapfile -t pids < <(host_pids)
  rest 25 # what was printed last leaves memory within twenty seconds …
  pss "${pids[@]}"
  for ((n = 1; n <= $1; n++)); do termalive screen "m$n" >/dev/null; done
  rest 5
  pss "${pids[@]}"
  rest 95 # … and a screen when nobody has looked at it for a minute
  pss "${pids[@]}"
  forget_here "$1" >/dev/null
}

sessions() {
  have tmux || return 0
  tmux new-session -d -s first 'exec sleep 1000000'
  duel make_and_forget_here make_and_forget_tmux
  row "new, ms, one of $news in a row, against tmux new-session -d" "$(per "$ours" "$news")" "$(per "$theirs" "$news")" "$(ratio "$ours" "$theirs")" '1.5 or less'

  in_termalive "$private/random" >/dev/null # fills the store's cache, which is the host's and no session's
  local pids tmux_pid before after tmux_before tmux_after here there
  mapfile -t pids < <(host_pids)
  tmux_pid=$(tmux_pid)
  rest 30 # until what it needed for that has gone back
  before=$(pss "${pids[@]}") tmux_before=$(pss "$tmux_pid")
  make_here "$idle" sleep 1000000 >/dev/null
  make_tmux "$idle" sleep 1000000 >/dev/null
  rest 15 # ten seconds after its last record a session is idle
  after=$(pss "${pids[@]}") tmux_after=$(pss "$tmux_pid")
  rest 15 # what the host gives back once they are idle is work of their making
  here=$(each_kib "$before" "$after" "$idle") there=$(each_kib "$tmux_before" "$tmux_after" "$idle")
  row "memory of an idle session, KiB, of $idle" "$here" "$there" "$(ratio "$here" "$there")" '64 or less'
  here=$(share "${pids[@]}") there=$(share "$tmux_pid")
  row "processor for $idle idle sessions, % of a core" "$here" "$there" "$(ratio "$here" "$there")" '1 or less for 1,000'
  duel listing listing_tmux
  row "list of $idle sessions, ms, against tmux list-sessions" "$(per "$ours" 20)" "$(per "$theirs" 20)" "$(ratio "$ours" "$theirs")" ''
  forget_here "$idle" && forget_tmux "$idle"

  local few=50 many_kib few_kib n
  tmux_before=$(pss "$tmux_pid")
  make_tmux "$few" "head -c 1000000 '$private/text'; exec sleep 1000000" >/dev/null # more than its history keeps
  mapfile -t few_kib < <(memory_after_printing "$few")
  mapfile -t many_kib < <(memory_after_printing "$((few + printed))")
  tmux_after=$(pss "$tmux_pid")
  there=$(each_kib "$tmux_before" "$tmux_after" "$few")
  row "host and keeper after $few sessions of 10 MB each, MB" "$(rate "${few_kib[0]}" 1024)" '' '' ''
  local with=('no screen yet' 'its screen' 'its screen gone') bar=('64 or less' '' '64 or less')
  for n in 0 1 2; do
    here=$(each_kib "${few_kib[n]}" "${many_kib[n]}" "$printed")
    row "each of $printed more after 10 MB, ${with[n]}, KiB" "$here" "$there" "$(ratio "$here" "$there")" "${bar[n]}"
  done
  forget_tmux "$few"
  tmux kill-session -t first
}
