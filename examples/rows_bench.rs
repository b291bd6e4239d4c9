use std::time::Instant;
use termalive::{model::*, terminal::*};
fn run(name: &str, data: &[u8]) {
    let mut rows = Rows::new(Size { cols: 80, rows: 24 });
    let mut out = Vec::new();
    let mut at = Cursor::at(Seq(1));
    let mut n = 0usize;
    let t = Instant::now();
    for (i, c) in data.chunks(4095).enumerate() {
        at = Cursor::at(Seq(i as u64 + 1));
        rows.feed(at, LogTime(i as u64 * 1000), c, &mut out);
        n += out.len();
        out.clear();
    }
    rows.finish(&mut out);
    let s = t.elapsed().as_secs_f64();
    println!("{name:>12}: {:7.1} MB/s  ({n} events, {:.0} ns/event)", data.len() as f64 / 1e6 / s, s * 1e9 / n as f64);
    let mut m = termalive::terminal::modes::Modes::default();
    let t = Instant::now();
    for c in data.chunks(4095) {
        m.scan(c);
    }
    if name == "text" {
        println!("modes {:.2} GB/s {}", data.len() as f64 / 1e9 / t.elapsed().as_secs_f64(), m.pack());
    }
    let _ = at;
}
fn main() {
    let line: String = (0..78).map(|i| (b'a' + (i % 26) as u8) as char).collect();
    let n = 20_000_000usize;
    let rep = |s: &str, n: usize| s.as_bytes().repeat(n / s.len());
    run("text", &rep(&format!("{line}\r\n"), n));
    run("yes", &rep("y\r\n", n));
    run("utf8", &rep("zażółć gęślą jaźń — 日本語 text with some words in it ok\r\n", n));
    run("colour", &rep("\x1b[32mtest\x1b[0m some::module::name ... \x1b[1mok\x1b[0m and more text here\r\n", n));
    run("tabs", &rep("a\tb\tc\tdddd\teeeee\tf\r\n", n));
    run("one row", &vec![b'x'; n]);
    run("cursor ups", &rep("\x1b[A", n));
    run("x+ups", &rep("\nx\x1b[Ay", n / 4));
    run("spinner", &rep("\r| working\r/ working", n / 4));
    let mut v = vec![b'x'; 1_000_000];
    v.extend(rep("\x08|\x08/", n / 10));
    run("long spin", &v);
    let mut frames = Vec::new();
    for i in 0..2000 {
        frames.extend_from_slice(b"\x1b[H");
        for r in 0..24 {
            frames.extend(
                format!("row {} of {} some text on the screen\x1b[K{}", r, i + r, if r < 23 { "\r\n" } else { "" })
                    .bytes(),
            );
        }
    }
    run("top", &frames);
    run("vim scroll", &[b"\x1b[?1049h\x1b[2;23r\x1b[23;1H".to_vec(), rep(&format!("{line}\r\n"), n / 4)].concat());
    run("nonlin", &[b"a\r\nb\x1b[A\r\n\n".to_vec(), rep(&format!("{line}\r\n"), n / 2)].concat());
    run("nonlin yes", &[b"a\r\nb\x1b[A\r\n\n".to_vec(), rep("y\r\n", n / 2)].concat());
    run("rep", &rep("\x1b[65535b", 8 * 400).iter().copied().collect::<Vec<u8>>());
    for f in ["aider", "codex", "opencode", "llm"] {
        let _ = f;
    }
}
