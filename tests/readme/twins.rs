//! Each README has a Chinese twin. If a block, a link or a command is only in one of them, this
//! test fails.
//!
//! Both have the same sections. In both, a section has the same blocks in the same order, the same
//! links, and the same commands in its text. The labels of a diagram are translated, so only its
//! number of lines must be the same.

use std::path::Path;

use super::{DEMO, links, read};

#[test]
fn both_languages_show_the_same() {
    let mut failures = String::new();
    for folder in ["", DEMO] {
        let [english, chinese] = ["README.md", "README.zh-CN.md"]
            .map(|name| Path::new(folder).join(name))
            .map(|path| (path.display().to_string(), read(&path)));
        for difference in differences(&english, &chinese) {
            failures += &difference;
            failures += "\n";
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// What is between two headings, without the words.
struct Section {
    /// The line of its heading, counted from 1.
    line: usize,
    level: usize,
    /// The lines of its blocks, each with its line number.
    shown: Vec<(usize, String)>,
    /// The links and the commands in its text. They are sorted, because a Chinese sentence may name
    /// them in another order.
    named: Vec<String>,
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::new(0, 0)];
    let mut block: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.strip_prefix("```");
        if block.is_none() && fence.is_none() {
            let level = line.bytes().take_while(|&byte| byte == b'#').count();
            if level > 0 {
                sections.push(Section::new(number, level));
            }
        }
        let section = sections.last_mut().expect("there is one");
        match (fence, block) {
            (Some(info), None) => block = Some(info),
            (Some(_), Some(_)) => block = None,
            (None, Some("mermaid")) => {
                section
                    .shown
                    .push((number, "a line of a diagram".to_owned()));
                continue;
            }
            (None, Some(_)) => {}
            (None, None) => {
                section
                    .named
                    .extend(links::links(line).into_iter().filter_map(normal));
                let quoted = line.split('`').skip(1).step_by(2);
                let commands = quoted.filter(|quoted| quoted.starts_with("cargo run "));
                section.named.extend(commands.map(str::to_owned));
                continue;
            }
        }
        section.shown.push((number, line.to_owned()));
    }
    for section in &mut sections {
        section.named.sort();
    }
    sections
}

impl Section {
    fn new(line: usize, level: usize) -> Self {
        Self {
            line,
            level,
            shown: Vec::new(),
            named: Vec::new(),
        }
    }
}

/// A link in a form that is the same in both languages. `None` for a link from a README to its
/// twin.
fn normal(link: String) -> Option<String> {
    // Headings are translated, so the part after `#` differs.
    let file = link.split('#').next().unwrap_or_default();
    let file = file.replace("README.zh-CN.md", "README.md");
    (file != "README.md").then(|| format!("]({file})"))
}

/// Where two texts, each with its name, differ in their sections, blocks, links or commands.
fn differences(
    (english, english_text): &(String, String),
    (chinese, chinese_text): &(String, String),
) -> Vec<String> {
    let (ours, theirs) = (sections(english_text), sections(chinese_text));
    let levels = |sections: &[Section]| sections.iter().map(|s| s.level).collect::<Vec<_>>();
    if levels(&ours) != levels(&theirs) {
        let first = ours.iter().zip(&theirs).find(|(a, b)| a.level != b.level);
        let ends = (ours.last(), theirs.last());
        let (a, b) = first.or(ends.0.zip(ends.1)).expect("there is one");
        return vec![format!(
            "{english} has {} headings, {chinese} {}: they differ from {english}:{} and {chinese}:{} on.",
            ours.len() - 1,
            theirs.len() - 1,
            a.line,
            b.line
        )];
    }
    let mut differences = Vec::new();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let places = ours.shown.len().max(theirs.shown.len());
        let line = |section: &Section, place: usize| section.shown.get(place).cloned();
        let differs = |&place: &usize| {
            line(ours, place).map(|(_, line)| line) != line(theirs, place).map(|(_, line)| line)
        };
        if let Some(place) = (0..places).find(differs) {
            let tell = |name: &str, section: &Section| match line(section, place) {
                Some((number, line)) => format!("{name}:{number}: {line}\n"),
                None => format!("{name}:{}: no more blocks in this section\n", section.line),
            };
            differences.push(tell(english, ours) + &tell(chinese, theirs));
        }
        for (name, section, other, twin) in [
            (english, ours, theirs, chinese),
            (chinese, theirs, ours, english),
        ] {
            let mut rest = other.named.clone();
            for named in &section.named {
                match rest.iter().position(|other| other == named) {
                    Some(place) => drop(rest.remove(place)),
                    None => differences.push(format!(
                        "{name}:{}: this section has {named}, and that of {twin}:{} does not\n",
                        section.line, other.line
                    )),
                }
            }
        }
    }
    differences
}

#[test]
fn a_difference_is_told_with_its_place_in_both() {
    let english = "# A\n[z](README.zh-CN.md) [b](x.rs#c) [a](../n/README.md)\n## B\n```console\n$ a\nb\n```\n\
        ```mermaid\nx\n```\n`cargo run x`\n";
    let told = |chinese: &str| {
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        differences(&text("E", english), &text("C", chinese))
    };
    let chinese = english.replace("README.zh-CN.md", "README.md").replace(
        "[b](x.rs#c) [a](../n/README.md)",
        "[甲](../n/README.zh-CN.md)\n[乙](x.rs#丙)",
    );
    assert_eq!(told(&chinese.replace("\nx\n", "\n文\n")), [""; 0]);
    assert_eq!(
        told(&chinese.replace("\nb\n", "\nc\n")),
        ["E:6: b\nC:7: c\n"]
    );
    assert_eq!(
        told(&chinese.replace("\nx\n", "\nx\ny\n")),
        ["E:10: ```\nC:11: a line of a diagram\n"]
    );
    assert_eq!(
        told(&chinese.replace("](x.rs#丙)", "")),
        ["E:1: this section has ](x.rs), and that of C:1 does not\n"]
    );
    assert_eq!(
        told(&chinese.replace("run x", "run y")),
        [
            "E:3: this section has cargo run x, and that of C:4 does not\n",
            "C:4: this section has cargo run y, and that of E:3 does not\n"
        ]
    );
    assert_eq!(
        told(&chinese.replace("## B\n", "## B\n### C\n")),
        ["E has 2 headings, C 3: they differ from E:3 and C:5 on."]
    );
}
