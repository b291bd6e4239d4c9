//! Questions to programs, with exactly what each prints in answer.

/// What is asked, and what must come.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) answer: String,
}

/// Varied, and the same each time for the same seed: splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A row as odd as programs print them; no blanks at its end, which no person sees.
    fn row(&mut self) -> String {
        let odd = [
            "",
            "$",
            "$ ls",
            ">",
            ">>>",
            "> x",
            "... y",
            "sqlite>",
            "#",
            "DONE",
            "bash-5.2$",
            "100%",
            "-",
            "--",
            "\\n",
            "%s",
            "~",
            "日本語のテキスト",
            "ünïcödé",
            "🦀 crab",
            "│ box │",
            "`tick`",
            "a;b|c&d",
            "*",
            "!x",
            "[DONE]",
            "(y/n)?",
            "Password:",
        ];
        let words = ["alpha", "beta", "x", "the plan", "7", "é", "漢字", "--flag", "$HOME", "\"q\"", "{}"];
        match self.below(5) {
            0 => self.pick(&odd).to_owned(),
            1 => format!("{:1$}{2}", "", self.below(12), self.pick(&odd)).trim_end().to_owned(),
            2 => (0..1 + self.below(70)).map(|_| self.pick(&words)).collect::<Vec<_>>().join(" "),
            3 => "x".repeat(76 + self.below(10)),
            _ => (0..1 + self.below(6)).map(|_| self.pick(&words)).collect::<Vec<_>>().join(" "),
        }
    }

    fn rows(&mut self) -> Vec<String> {
        (0..1 + self.below(6)).map(|_| self.row()).collect()
    }
}

/// What a person reads of it: blank rows at the end are none.
fn read(rows: &[String]) -> String {
    rows.join("\n").trim_end_matches(['\n', ' ']).to_owned()
}

fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A word for Python and SQL: both double a single quote otherwise.
fn plain(text: &str) -> String {
    text.replace(['\'', '\\'], "_")
}

pub(crate) fn bash(dice: &mut Dice, n: usize) -> Question {
    let rows = dice.rows();
    let words = rows.iter().map(|row| sh(row)).collect::<Vec<_>>().join(" ");
    let (text, answer) = match dice.below(12) {
        0 => ("true".to_owned(), String::new()),
        1 => (r#"echo "$BASH_COMMAND""#.to_owned(), r#"echo "$BASH_COMMAND""#.to_owned()),
        2 => (format!("printf %s {}", sh(&rows[0])), rows[0].clone()),
        3 => (format!("cd /; cd {}", dice.pick(&["/tmp", "/usr", "/"])), String::new()),
        4 => (
            format!("printf '%s\\n' {words}; sleep 0.{}; echo end {n}", dice.below(6)),
            format!("{}\nend {n}", rows.join("\n")),
        ),
        5 => ("printf '$ '; sleep 0.4; echo; echo '$'".to_owned(), "$\n$".to_owned()),
        6 => (format!("for i in 1 2; do\n  echo \"  $i\"\n\n  echo {n}\ndone"), format!("  1\n{n}\n  2\n{n}")),
        7 => (format!("printf '%s\\n' \"$PS1\" | head -c 0; (exit {n}); echo $?"), (n % 256).to_string()),
        8 => (format!("cat <<'END'\n{}\nEND", rows.join("\n").replace('!', "i")), read(&rows).replace('!', "i")),
        9 => (format!("seq {n} 1 {}", n + dice.below(60)), String::new()),
        _ => (format!("printf '%s\\n' {words}"), read(&rows)),
    };
    let answer = match text.strip_prefix("seq ") {
        Some(numbers) => {
            let ends: Vec<usize> = numbers.split(' ').map(|end| end.parse().unwrap()).collect();
            (ends[0]..=ends[2]).map(|i| i.to_string()).collect::<Vec<_>>().join("\n")
        }
        None => answer,
    };
    Question { text, answer: answer.trim_end().to_owned() }
}

pub(crate) fn python(dice: &mut Dice, n: usize) -> Question {
    let rows: Vec<String> = dice.rows().iter().map(|row| plain(row)).collect();
    let traceback = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\n";
    let (text, answer) = match dice.below(9) {
        0 => (format!("{n}*{n}"), (n * n).to_string()),
        1 => (format!("x{n} = {n}"), String::new()),
        2 => (format!("print('''{}''')", rows[0]), rows[0].clone()),
        3 => (format!("for i in range(2):\n    print(i, '{}')\n", plain(&rows[0])), format!("0 {0}\n1 {0}", rows[0])),
        4 => (format!("{n}/0"), format!("{traceback}ZeroDivisionError: division by zero")),
        5 => (format!("import sys; _ = sys.stdout.write('abc{n}')"), format!("abc{n}")),
        6 => (format!("import time; print({n}); time.sleep(0.{}); print('>>>')", dice.below(6)), format!("{n}\n>>>")),
        7 => (format!("print('print', {n})\ny = 2\nprint(y, {n})"), format!("print {n}\n2 {n}")),
        _ => {
            let list = rows.iter().map(|row| format!("'{row}'")).collect::<Vec<_>>().join(", ");
            (format!("print('\\n'.join([{list}]))"), read(&rows))
        }
    };
    Question { text, answer: answer.trim_end().to_owned() }
}

pub(crate) fn sqlite(dice: &mut Dice, n: usize) -> Question {
    let rows: Vec<String> = dice.rows().iter().map(|row| plain(row)).collect();
    let (text, answer) = match dice.below(6) {
        0 => (format!("select {n}, 'a{n}';"), format!("{n}|a{n}")),
        1 => ("select * from nowhere;".to_owned(), "Parse error: no such table: nowhere".to_owned()),
        2 => (format!("create table t{n}(a);"), String::new()),
        3 => (format!("select 'sqlite> ' || {n}; select '   ...> x';"), format!("sqlite> {n}\n   ...> x")),
        4 => (format!("select\n  {n},\n  {n};"), format!("{n}|{n}")),
        _ => {
            let values = rows.iter().map(|row| format!("('{row}')")).collect::<Vec<_>>().join(",");
            (format!("select * from (values {values});"), read(&rows))
        }
    };
    Question { text, answer: answer.trim_end().to_owned() }
}

/// What the scripted model of `tests/agents` answers to so many tokens.
pub(crate) fn model_answer(tokens: usize, marker: &str) -> String {
    let words: Vec<&str> = "the plan reads each input file once then writes one small report per step so that a later \
         check can compare what was asked with what was done and stop early when they differ"
        .split_whitespace()
        .collect();
    let token = |i: usize| match i % 40 {
        0 => format!("{}Step{}:", if i > 0 { "\n\n" } else { "" }, i / 40 + 1),
        _ => format!(" {}", words[i % words.len()]),
    };
    (0..tokens).map(token).collect::<String>() + "\n\n" + marker
}

/// With pauses while the model thinks, and between its words.
pub(crate) fn llm(dice: &mut Dice, n: usize) -> Question {
    let tokens = 1 + dice.below(90);
    let (first, delay) = (dice.pick(&["0", "300", "1200"]), dice.pick(&["0", "2", "10"]));
    let say = dice.pick(&["plan it", "what is > here", "Say DONE when ready;", "日本"]);
    let text = format!("{n} {say} TOKENS={tokens} DELAY={delay} FIRST={first}");
    Question { text, answer: model_answer(tokens, "PLAN_DONE") }
}
