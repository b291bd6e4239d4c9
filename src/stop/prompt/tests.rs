//! Tables of what stood before and what stands now.

use super::*;

fn rule(asked: bool) -> ReplyRule {
    ReplyRule { judges: true, quiet: Duration::from_secs(3), asked, first: Duration::from_secs(120) }
}

/// A turn typed at `standing`; then the row stands as `text`. What is said, and after how many milliseconds.
fn verdict(standing: &str, text: &str, paste: Option<bool>, paints: bool, asked: bool) -> String {
    let mut prompt = Prompt::new(rule(asked));
    let show = |prompt: &mut Prompt, bytes: &str, at: u32| {
        let was_on = prompt.pastes();
        assert_eq!(prompt.part(bytes.as_bytes()), bytes.len());
        prompt.read_on(bytes.as_bytes(), Cursor { byte: at, ..Cursor::default() }, was_on, String::new);
    };
    if paste.is_some() {
        show(&mut prompt, "\x1b[?2004h", 0);
    }
    prompt.begin(standing, LogTime(0));
    prompt.event(&Event::Typed { of: Default::default(), step: Step::Enter, n: 0 });
    prompt.output(LogTime(0));
    if let Some(again) = paste {
        show(&mut prompt, "\x1b[?2004l", 1);
        if again {
            show(&mut prompt, "\x1b[?2004h", 7);
        }
    }
    while let Some(at) = prompt.deadline() {
        if let Some(answer) = prompt.look(at, &Open { text, paints, answered: true }) {
            let said = match answer {
                Answer::Prompt(text) => format!("{text:?}{}", if prompt.ends().is_some() { " read" } else { "" }),
                Answer::Quiet { whole } => if whole { "quiet" } else { "gave up" }.to_owned(),
            };
            return format!("{said} {}", at.0 / 1_000_000);
        }
    }
    "waits".to_owned()
}

#[test]
fn prompts_are_known_again() {
    for (standing, text, paste, wanted) in [
        (">>> ", ">>> ", None, "\">>> \" 300"),
        (">>> ", "abc>>> ", None, "\">>> \" 1000"),
        (">>> ", "... ", None, "gave up 15000"),
        (">>> ", "", None, "waits"),
        (">>> ", "thinking", None, "waits"),
        (">>> ", "Name: ", None, "gave up 15000"),
        ("In [1]: ", "In [12]: ", None, "\"In [12]: \" 300"),
        ("In [1]: ", "   ...: ", None, "gave up 15000"),
        ("sqlite> ", "   ...> ", None, "gave up 15000"),
        ("db=> ", "db-> ", None, "gave up 15000"),
        ("~ $ ", "/tmp $ ", None, "\"/tmp $ \" 3000"),
        ("", "anything", None, "quiet 3000"),
        ("", "", None, "quiet 3000"),
        ("a@b:~$ ", "a@b:~$ ", Some(true), "\"a@b:~$ \" read 100"),
        ("a@b:~$ ", "a@b:/tmp$ ", Some(true), "\"a@b:/tmp$ \" read 100"),
        ("a@b:~# ", "a@b:/# ", Some(true), "\"a@b:/# \" read 100"),
        ("$ ", "abc$ ", Some(true), "\"$ \" read 100"),
        ("$ ", "> ", Some(true), "gave up 3000"),
        ("sqlite> ", "   ...> ", Some(true), "gave up 3000"),
        ("$ ", "$ ", Some(false), "gave up 15000"),
        ("$ ", "", Some(false), "waits"),
    ] {
        assert_eq!(verdict(standing, text, paste, false, false), wanted, "{standing:?} then {text:?}");
    }
}

#[test]
fn after_a_prompt_that_asked_for_more_the_first_one_comes_back() {
    let mut prompt = Prompt::new(rule(false));
    prompt.typed_before("sqlite> ");
    prompt.begin("   ...> ", LogTime(0));
    assert_eq!(prompt.stands("sqlite> "), Some(Match::Exactly));
    assert_eq!(prompt.stands("sqlite2> "), None);
}

#[test]
fn a_prompt_of_several_rows_is_none_of_one_row() {
    for (above, now, again) in [("\n", "\n", true), ("\n", "", false), ("", "\n", true), ("", "", false)] {
        let mut prompt = Prompt::new(rule(false));
        let mut at = Cursor::default();
        let mut show = |prompt: &mut Prompt, bytes: &str| {
            let was_on = prompt.pastes();
            prompt.part(bytes.as_bytes());
            at.byte += 1;
            prompt.read_on(bytes.as_bytes(), at, was_on, String::new);
        };
        show(&mut prompt, "\x1b[?2004h");
        show(&mut prompt, above);
        prompt.begin("$ ", LogTime(0));
        prompt.event(&Event::Typed { of: Default::default(), step: Step::Enter, n: 0 });
        prompt.output(LogTime(0));
        show(&mut prompt, "\x1b[?2004l");
        show(&mut prompt, "\x1b[?2004h");
        show(&mut prompt, now);
        assert_eq!(prompt.again("> "), again, "{above:?} {now:?}");
        assert_eq!((prompt.begins().unwrap().byte, prompt.ends().unwrap().byte), (3, 4));
    }
}

#[test]
fn a_program_that_paints_is_done_when_it_is_quiet() {
    assert_eq!(verdict("> ask", "> ask", None, true, false), "\"> ask\" 3000");
    assert_eq!(verdict("> ask", "status", None, true, false), "quiet 3000");
}

#[test]
fn a_silence_that_was_asked_for_ends_the_wait() {
    assert_eq!(verdict("$ ", "", Some(false), false, true), "gave up 3000");
    assert_eq!(verdict("", "half", None, false, true), "quiet 3000");
}

#[test]
fn a_prompt_behind_an_unfinished_row_is_known_by_what_stood_before() {
    let mut prompt = Prompt::new(rule(false));
    prompt.typed_before(">>> ");
    prompt.begin("abc>>> ", LogTime(0));
    assert_eq!(prompt.known(), ">>> ");
    let mut prompt = Prompt::new(rule(false));
    assert_eq!(prompt.part(b"abc\x1b[?2004h$ "), 11);
    prompt.read_on(b"", Cursor::default(), false, || "abc".to_owned());
    prompt.begin("abc$ ", LogTime(0));
    assert_eq!((prompt.known(), prompt.late), ("$ ", false));
    prompt.read_on(b"dir\r\n$ ", Cursor::default(), true, String::new);
    prompt.begin("$ ", LogTime(0));
    assert_eq!((prompt.known(), prompt.late), ("$ ", false));
}
