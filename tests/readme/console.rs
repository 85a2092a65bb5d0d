//! The console blocks of a Markdown file: finding them, running them, comparing their output.
//!
//! A block begins with ```` ```console ````. A line that begins with `$ ` is a command. The lines
//! after it are the command's output in one run. A number that differs from run to run matches any
//! other number: see [`Token`]. In a block that begins with ```` ```console any-order ````, the
//! lines of a command's output may come in any order. A line `...` stands for any number of lines.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use assert_cmd::assert::Assert;
use regex::{Captures, Regex};

use crate::common;

/// The part of a command that runs a demo. The group is the demo's name.
static RUN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"cargo run -q -p ([a-z-]+)(?: --release)?(?: --(?: |$))?"));

/// A console block of a Markdown file.
pub struct Block {
    /// The line of the opening fence, counted from 1.
    pub line: usize,
    any_order: bool,
    pub steps: Vec<Step>,
}

/// A command, and the lines that it prints.
pub struct Step {
    pub command: String,
    output: Vec<String>,
}

/// The console blocks of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = None;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(info) = line.strip_prefix("```") {
            open = match open {
                None => Some(info),
                Some(_) => None,
            };
            let mut words = info.split_whitespace();
            if words.next() == Some("console") {
                blocks.push(Block {
                    line: number,
                    any_order: words.next() == Some("any-order"),
                    steps: Vec::new(),
                });
            }
        } else if open.is_some_and(|info| info.starts_with("console")) {
            let steps = &mut blocks.last_mut().expect("a block is open").steps;
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                });
            } else {
                let step = steps.last_mut();
                let step = step.unwrap_or_else(|| panic!("line {number}: output of no command"));
                step.output.push(line.to_owned());
            }
        }
    }
    blocks
}

impl Block {
    /// The demo to which this block belongs: the one that its first `cargo run` names.
    pub fn demo(&self) -> Option<&str> {
        let mut steps = self.steps.iter();
        steps.find_map(|step| Some(RUN.captures(&step.command)?.get(1)?.as_str()))
    }

    /// Runs the block's commands in one shell, in an empty folder. `program` replaces `cargo run`.
    /// Returns one text for each command whose output does not match.
    pub fn mismatches(&self, program: &Path) -> Vec<String> {
        let outputs = self.run(program);
        self.steps
            .iter()
            .zip(&outputs)
            .filter_map(|(step, output)| {
                let difference = if step.command == "echo $?" && step.output != *output {
                    format!("The exit code is not {}", step.output.join(" "))
                } else {
                    compare(&step.output, output, self.any_order)?
                };
                Some(format!(
                    "$ {}\n{difference}\nIt printed:\n{}\n",
                    step.command,
                    output.join("\n")
                ))
            })
            .collect()
    }

    /// What each of the commands printed.
    fn run(&self, program: &Path) -> Vec<Vec<String>> {
        const END: &str = "--- end of a command ---";

        let program = shell_quoted(program);
        let mut script = String::from("exec 2>&1\n");
        for step in &self.steps {
            let command = RUN.replace_all(&step.command, |run: &Captures| {
                // We have the program of one demo only. A command that runs another demo stays
                // as it is, and fails.
                let ours = self.demo() == Some(&run[1]);
                if ours {
                    program.clone()
                } else {
                    run[0].to_owned()
                }
            });
            // `(exit $1)` restores `$?`, so that the next command can print this command's exit
            // code.
            script += &format!("{command}\nset -- $?; echo; echo '{END}'; (exit $1)\n");
        }
        // The last command may fail; the script itself has not failed then.
        script += "exit 0\n";

        let folder = EmptyFolder::new();
        let mut sh = common::command("sh", &["-c", &script]);
        sh.current_dir(&folder.0);
        // A lesson may leave an orphan that is about to end.
        common::adopt_orphans();
        let sh = sh.spawn().expect("there is a shell");
        let output = Assert::new(common::finish_with_orphans(sh)).success();
        let output = common::stdout(&output);
        let outputs: Vec<&str> = output.split_terminator(&format!("\n{END}\n")).collect();
        assert_eq!(
            outputs.len(),
            self.steps.len(),
            "a command ended the shell: {output}"
        );
        let lines = |output: &&str| output.lines().map(str::to_owned).collect();
        outputs.iter().map(lines).collect()
    }
}

fn shell_quoted(program: &Path) -> String {
    let program = program.to_str().expect("the program's path is UTF-8");
    // The blank replaces the one before the first argument: `RUN` has matched that one too.
    format!("'{}' ", program.replace('\'', r"'\''"))
}

/// A folder for one block. It is removed when the value is dropped.
struct EmptyFolder(PathBuf);

impl EmptyFolder {
    fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let folder = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("readme-test-{}-{folder}", process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }
}

impl Drop for EmptyFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says where the output differs from what was expected, or `None` if it does not.
fn compare(expected: &[String], output: &[String], any_order: bool) -> Option<String> {
    let parse = |lines: &[String]| -> Vec<Line> {
        let lines = lines.iter().map(|line| Line::parse(line));
        // Without tokens: an empty line, or a line of a table's frame.
        lines.filter(|line| !line.tokens.is_empty()).collect()
    };
    let (expected, output) = (parse(expected), parse(output));
    if any_order {
        compare_in_any_order(expected, output)
    } else {
        compare_in_order(&expected, &output)
    }
}

fn compare_in_order(expected: &[Line], output: &[Line]) -> Option<String> {
    fn matches(expected: &[Line], output: &[Line]) -> bool {
        match expected {
            [] => output.is_empty(),
            [line, rest @ ..] if line.stands_for_any_lines() => {
                (0..=output.len()).any(|skipped| matches(rest, &output[skipped..]))
            }
            [line, rest @ ..] => {
                output.first().is_some_and(|printed| line.matches(printed))
                    && matches(rest, &output[1..])
            }
        }
    }
    if matches(expected, output) {
        return None;
    }
    // The first line at which the output no longer matches, if any lines may follow.
    let unmatched = (0..expected.len()).find(|&end| {
        let mut beginning = expected[..=end].to_vec();
        beginning.push(Line::parse("..."));
        !matches(&beginning, output)
    });
    Some(match unmatched {
        Some(line) => format!("Not printed, or not there: {:?}", expected[line].text),
        None => {
            let more = output.get(expected.len()).or(output.last());
            let more = more.expect("if nothing was printed, a line is unmatched");
            format!("More was printed than is shown: {:?}", more.text)
        }
    })
}

fn compare_in_any_order(mut expected: Vec<Line>, mut output: Vec<Line>) -> Option<String> {
    let lines = expected.len();
    expected.retain(|line| !line.stands_for_any_lines());
    let more_is_allowed = expected.len() < lines;
    // Lines with few wildcards are matched first. Otherwise, a line with many could take the only
    // output line that matches another line.
    expected.sort_by_key(Line::wildcards);
    let mut missing = Vec::new();
    for line in expected {
        match output.iter().position(|printed| line.matches(printed)) {
            Some(place) => drop(output.remove(place)),
            None => missing.push(line.text),
        }
    }
    if !missing.is_empty() {
        Some(format!("Not printed: {missing:?}"))
    } else if !output.is_empty() && !more_is_allowed {
        let more: Vec<&String> = output.iter().map(|line| &line.text).collect();
        Some(format!("More was printed than is shown: {more:?}"))
    } else {
        None
    }
}

/// A line, and its tokens. Blanks, and the characters that draw tables and bars, are not tokens.
#[derive(Clone)]
struct Line {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone, PartialEq)]
enum Token {
    /// Must be equal: a word, a sign, a bare number of one or two digits, an exit code.
    Text(String),
    /// A longer number, or one with a decimal point: an id, or something measured.
    Number(String),
    /// A number with a unit. Only what the unit measures must be equal: 900 µs matches 1.2 ms.
    Quantity(&'static str),
    /// 0%. It matches only 0%. But another percentage matches 0% too: something that is rare may
    /// not happen in a run.
    Never,
    /// A place in a source file. It matches any other place: lines move when a file is edited.
    SourceLine,
}

impl Line {
    fn parse(text: &str) -> Self {
        static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
            pattern(concat!(
                r"(?<drawn>[─-▟■□]+|[-=+]{3,})",
                r"|(?<place>\.rs:\d+(?::\d+)?)",
                r"|(?<code>(?i:code|status):? \d+)",
                r"|(?<never>0(?:\.0+)?%)",
                r"|(?<word>[\p{Alphabetic}_]\w*)",
                r"|(?<number>0x[0-9a-f]+|\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)*)",
                r"(?: ?(?:(?<time>(?:ns|[µμ]s|us|ms|s|seconds?|min)\b)",
                r"|(?<rate>(?:[KMGk]i?)?B/s|[a-z]+/s\b|/s\b)",
                r"|(?<size>(?:(?:[KMGk]i?)?B|bytes?)\b)",
                r"|(?<ratio>×|%)))?",
                r"|(?<sign>\S)",
            ))
        });
        let tokens = TOKEN.captures_iter(text).filter_map(|token| {
            if let Some(number) = token.name("number") {
                let units = ["time", "rate", "size", "ratio"];
                let unit = units.into_iter().find(|unit| token.name(unit).is_some());
                let number = number.as_str();
                Some(match unit {
                    Some(unit) => Token::Quantity(unit),
                    None if number.len() > 2 => Token::Number(number.to_owned()),
                    None => Token::Text(number.to_owned()),
                })
            } else if token.name("place").is_some() {
                Some(Token::SourceLine)
            } else if token.name("never").is_some() {
                Some(Token::Never)
            } else if token.name("drawn").is_some() {
                None
            } else {
                Some(Token::Text(token[0].to_owned()))
            }
        });
        Self {
            text: text.to_owned(),
            tokens: tokens.collect(),
        }
    }

    fn stands_for_any_lines(&self) -> bool {
        self.text.trim() == "..."
    }

    fn wildcards(&self) -> usize {
        let is_wildcard = |token: &&Token| !matches!(token, Token::Text(_));
        self.tokens.iter().filter(is_wildcard).count()
    }

    /// Whether this line of a README matches a line of output.
    fn matches(&self, output: &Line) -> bool {
        self.tokens.len() == output.tokens.len()
            && self
                .tokens
                .iter()
                .zip(&output.tokens)
                .all(|pair| match pair {
                    (Token::Number(_), Token::Number(_)) => true,
                    // A process id may have only one digit, for example in a container.
                    (Token::Number(_), Token::Text(text)) => text.parse::<u32>().is_ok(),
                    (Token::Quantity("ratio"), Token::Never) => true,
                    (expected, printed) => expected == printed,
                })
    }
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

mod tests {
    use super::*;

    fn difference(expected: &str, output: &str, any_order: bool) -> Option<String> {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        compare(&lines(expected), &lines(output), any_order)
    }

    #[track_caller]
    fn assert_same(expected: &str, output: &str) {
        assert_eq!(difference(expected, output, false), None);
        assert_eq!(difference(expected, output, true), None);
    }

    #[track_caller]
    fn assert_differs(expected: &str, output: &str, by: &str) {
        for any_order in [false, true] {
            let found = difference(expected, output, any_order).expect("they differ");
            assert!(found.contains(by), "{found}");
        }
    }

    #[test]
    fn a_number_that_differs_from_run_to_run_matches_any_other() {
        assert_same("Process (30506) start...", "Process (7) start...");
        assert_same("Task 3 runs 0.18 seconds.", "Task 3 runs 11.02 seconds.");
        assert_same("took 980 µs, 1 KiB/s", "took 1.2 ms, 17.4 MiB/s");
        assert_same("7,319 requests/s, 4 ×", "10,077 requests/s, 31.5 ×");
        assert_same("at src/panic.rs:12:5", "at src/panic.rs:140:17");
    }

    #[test]
    fn a_word_a_small_number_and_a_sign_are_to_be_equal() {
        assert_differs("Exit code: 3", "Exit code: 4", "3");
        assert_differs("child 12", "child 1234", "12");
        assert_differs("Process (305) start...", "Process (305) ends...", "start");
        assert_differs("Process (305).", "Process (305)", ".");
        assert_differs("took 12 ms", "took 12 KiB", "ms");
        assert_differs("(305)", "(none)", "305");
        assert_differs("-9", "9", "-9");
        assert_differs("node12", "node13", "node12");
        assert_differs("exit status: 101", "exit status: 255", "101");
    }

    #[test]
    fn what_is_rare_may_fail_to_happen_and_what_never_happens_may_not() {
        assert_same("the child in 0.4%.", "the child in 0.0%.");
        assert_differs("the child in 0.0%.", "the child in 0.4%.", "0.0");
    }

    #[test]
    fn blanks_tables_and_bars_do_not_count() {
        assert_same("  a   1  \n", "a 1");
        assert_same("┌──┬──┐\n│ a │ b │\n└──┴──┘", "│ a │ b │");
        assert_same("412 3━━━╸4━━━━━╸", "98 3━╸4━━━━━━━━╸");
        assert_same("a\n---\n\nb", "a\nb");
    }

    #[test]
    fn a_line_too_few_or_too_many_is_a_difference() {
        assert_differs("a\nb", "a", "b");
        assert_differs("a", "a\nb", "b");
        assert_differs("a", "", "a");
        assert_differs("", "a", "a");
    }

    #[test]
    fn three_dots_stand_for_any_lines() {
        assert_same("a\n...\nd", "a\nb\nc\nd");
        assert_same("a\n...\nd", "a\nd");
        assert_differs("a\n...\nd", "a\nb\nc", "d");
        assert_differs("a\n...", "b", "a");
    }

    #[test]
    fn the_order_counts_unless_the_block_says_otherwise() {
        assert_eq!(difference("a\nb", "b\na", true), None);
        assert!(difference("a\nb", "b\na", false).is_some());
        // `id 100` matches both lines of output, `id 7` only one. `id 7` is matched first.
        assert_eq!(difference("id 100\nid 7", "id 7\nid 8", true), None);
        assert!(difference("a\na\nb", "a\nb\nb", true).is_some());
    }

    #[test]
    fn a_block_belongs_to_the_demo_that_it_runs() {
        let text = "a\n```console any-order\n$ true\n$ cargo run -q -p some-demo -- x | cat\ny\n```\n```sh\n$ cargo run -q -p other\n```\n";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].line, blocks[0].any_order), (2, true));
        assert_eq!(blocks[0].demo(), Some("some-demo"));
        assert_eq!(blocks[0].steps[0].output, [""; 0]);
        assert_eq!(blocks[0].steps[1].output, ["y"]);
    }

    #[test]
    fn a_block_is_run_by_a_shell_with_the_program_in_place_of_cargo() {
        let text = "```console\n$ cargo run -q -p some-demo --release -- 'a b' | tr a-z A-Z\nA B\n$ (cargo run -q -p some-demo -- c >&2; exit 127)\nc\n$ echo $?\n127\n$ ls\n```\n";
        let block = &blocks(text)[0];
        assert_eq!(block.mismatches(Path::new("/bin/echo")), [""; 0]);
        let found = block.mismatches(Path::new("/bin/false"));
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("tr a-z A-Z\nNot printed, or not there: \"A B\""));

        let text = text.replace("\n127\n", "\n126\n");
        let found = blocks(&text)[0].mismatches(Path::new("/bin/echo"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("The exit code is not 126\nIt printed:\n127"));
    }
}
