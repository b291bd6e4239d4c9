# shellcheck shell=bash disable=SC2154
# Reading back what was written: the whole, as text, a moment of it, a word in it. Against cat and grep on a file.

wrote() { # wrote NAME MB: a session that has printed so much of the text; the same stands in the file NAME
  local times=$((($2 + mb - 1) / mb)) n
  head -c "$(($2 * 1024 * 1024))" < <(for ((n = 0; n < times; n++)); do cat "$private/text"; done) >"$private/$1"
  termalive new "$1" --fresh -- sh -c "stty raw -echo; cat '$private/$1'" >/dev/null
  until [[ $(termalive list --all --json | jq -r --arg name "$1" '.[] | select(.name == $name).state') == exited ]]; do rest 0.1; done
}
raw_here() { time_of termalive logs "$1" --raw; }
text_here() { time_of termalive logs "$1"; }
cat_file() { time_of cat "$private/$1"; }
search_here() { time_of termalive search "$word" "$1"; }
grep_file() { time_of grep -E "$word" "$private/$1"; }
screen_now() { time_of termalive screen "$1"; }
screen_then() { # a moment as good as random, another one each time
  local last
  last=$(termalive list --all --json | jq -r --arg name "$1" '.[] | select(.name == $name).last_seq')
  time_of termalive screen "$1" --at "@$(((RANDOM * 32768 + RANDOM) % last + 1))"
}

reading() {
  local word='^[0-9]*77777 '
  wrote raw "$raw_mb"
  duel raw_here cat_file raw
  row "logs --raw of $raw_mb MB, MB/s, against cat of a file" "$(rate "$raw_mb" "$ours")" "$(rate "$raw_mb" "$theirs")" "$(ratio "$theirs" "$ours")" ''
  termalive rm raw
  wrote text_only "$text_mb"
  duel text_here cat_file text_only
  row "logs (text) of $text_mb MB, MB/s, against cat of a file" "$(rate "$text_mb" "$ours")" "$(rate "$text_mb" "$theirs")" "$(ratio "$theirs" "$ours")" ''
  termalive rm text_only
  knows screen || knows search || return 0
  wrote big "$big_mb"
  if knows screen; then
    duel screen_then screen_now big
    row "screen at any moment of $big_mb MB, ms, against the screen now" "$(per "$ours" 1)" "$(per "$theirs" 1)" "$(ratio "$ours" "$theirs")" ''
  fi
  if knows search; then
    duel search_here grep_file big
    row "search of $big_mb MB, s, against grep of a file" "$ours" "$theirs" "$(ratio "$ours" "$theirs")" ''
  fi
  termalive rm big
}
