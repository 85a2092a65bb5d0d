//! The READMEs are true: the programs print what the READMEs show, and each link leads to a file or
//! a heading.
//!
//! Every demo has this test. It runs the console blocks of the demo's own README, and those blocks
//! of the root's README that run this demo. With `-- --ignored`, it also does the demo's exercises:
//! see [`exercises`].
#![cfg(unix)]

mod console;
mod exercises;
mod links;
mod twins;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use console::Block;

const DEMO: &str = env!("CARGO_PKG_NAME");

/// The folder of the whole workspace.
fn root() -> &'static Path {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR"));
    demo.parent().expect("a demo is a folder of the workspace")
}

/// The Markdown files of the root and of this demo: their paths, relative to the root.
fn texts() -> Vec<PathBuf> {
    let mut texts = Vec::new();
    for folder in ["", DEMO] {
        let folder = Path::new(folder);
        for entry in fs::read_dir(root().join(folder)).expect("the workspace's folders can be read")
        {
            let name = entry
                .expect("the workspace's folders can be read")
                .file_name();
            if Path::new(&name).extension().is_some_and(|e| e == "md") {
                texts.push(folder.join(name));
            }
        }
    }
    texts.sort();
    texts
}

fn is_chinese(text: &Path) -> bool {
    text.to_str()
        .is_some_and(|text| text.ends_with(".zh-CN.md"))
}

fn read(text: &Path) -> String {
    fs::read_to_string(root().join(text)).expect("a text of the workspace can be read")
}

/// Whether the READMEs show what is printed on this system. Their blocks were run on Linux; the
/// messages of other systems differ.
const SEEN_HERE: bool = cfg!(target_os = "linux");

#[test]
fn the_readmes_show_what_the_demo_prints() {
    if !SEEN_HERE {
        return;
    }
    let program = assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME"));
    // The Chinese texts have the same blocks: see `twins`.
    let texts = texts().into_iter().filter(|text| !is_chinese(text));
    let mut blocks = Vec::new();
    for text in texts {
        for block in console::blocks(&read(&text)) {
            let place = format!("{}:{}", text.display(), block.line);
            let demo = block.demo().unwrap_or_else(|| {
                panic!(
                    "{place}: this block runs no demo. What is not to be run here is no `console`, but `sh`"
                )
            });
            if demo == DEMO {
                blocks.push((place, block));
            }
        }
    }
    let mismatches = |(place, block): &(String, Block)| -> Vec<String> {
        let mismatches = block.mismatches(program).into_iter();
        mismatches.map(|it| format!("{place}: {it}")).collect()
    };
    // All blocks run at the same time: most of the time, they only wait.
    let differing: Vec<&(String, Block)> = thread::scope(|scope| {
        let start = |block| scope.spawn(move || (block, mismatches(block)));
        let running: Vec<_> = blocks.iter().map(start).collect();
        let ended = running
            .into_iter()
            .map(|it| it.join().expect("it panicked"));
        let differing = ended.filter(|(_, mismatches)| !mismatches.is_empty());
        differing.map(|(block, _)| block).collect()
    });
    // Those run again, one by one: together, they may have been too slow for a limit of time.
    let failures: Vec<String> = differing.into_iter().flat_map(mismatches).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// NOTES.md names the test that checks each statement, for example `pool_demo::a_test`.
#[test]
fn the_tests_that_the_notes_name_exist() {
    let notes = read(Path::new("NOTES.md"));
    let name = regex::Regex::new("`([a-z]+_[a-z_]+)::([a-z0-9_]+)`").expect("the pattern is valid");
    let named: Vec<[&str; 2]> = name
        .captures_iter(&notes)
        .map(|it| it.extract().1)
        .collect();
    assert!(named.len() > 40, "the ledger has more lines than that");
    for [file, test] in named {
        let tests = read(&Path::new("tests").join(file).with_extension("rs"));
        assert!(tests.contains(&format!("fn {test}()")), "{file}::{test}");
    }
}
